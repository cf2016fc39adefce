package integration

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"signkit/images"
)

// TestImage checks what CI systems and scripts rely on in every image.
func TestImage(t *testing.T) {
	s := need(t)
	for _, img := range s.images {
		for _, v := range images.Variants {
			tag := "signkit:" + img.Tag(v)
			t.Run(img.Tag(v), func(t *testing.T) {
				inspected, err := s.pool.Client.InspectImage(tag)
				if err != nil {
					t.Fatal(err)
				}
				c := inspected.Config
				if len(c.Entrypoint) != 0 || !slices.Equal(c.Cmd, []string{"bash"}) || c.User != "" {
					t.Errorf("entry point %q, command %q, user %q; want none, bash, none", c.Entrypoint, c.Cmd, c.User)
				}
				for _, v := range c.Env {
					if name, _, _ := strings.Cut(v, "="); name == "HOME" || name == "GNUPGHOME" || strings.Contains(name, "TOKEN") {
						t.Errorf("the image sets %s", name)
					}
				}
				checkLabels(t, c.Labels, "signkit", "Linux signing tools whose keys stay in the signing service")
				if base := c.Labels[label+"base.name"]; base != img.Base && base != "signkit-base:"+img.Name+"-slim" {
					t.Errorf("the base is %q, want %s or its stand-in", base, img.Base)
				}
			})
			t.Run(img.Tag(v)+"/files", func(t *testing.T) {
				t.Parallel()
				got := s.run(t, container{image: tag, user: users[1], command: []string{"bash", "-c",
					`cd /usr/lib/signkit && readlink libSignPath.Cryptoki.so && test -r /usr/share/doc/signkit/LICENSE -a -r libsignkit-pkcs11.so -a -x signkit-tokend -a -x signkit-scdaemon &&
					signkit version &&
					cat /etc/signkit/openssl-*.cnf /usr/share/p11-kit/modules/signkit.module /etc/gitconfig /etc/rpm/macros.signing >/dev/null &&
					test "$SIGNPATH_LOG_CONSOLE_LEVEL" = error && test ! -e /etc/gnupg/gpg-agent.conf && command -v ` + strings.Join(programsOf(img, v), " ")}})
				want := filepath.Base(moduleInImage) + "\nsignkit " + s.labels(t, tag)[label+"version"] + " ("
				if got.code != 0 || !strings.HasPrefix(got.stdout, want) {
					t.Errorf("ended with %d, want output that begins with\n%s", got.code, want)
				}
			})
		}
	}
}

// label begins the names of the labels that the OCI's image specification defines.
const label = "org.opencontainers.image."

func (s *setup) labels(t *testing.T, tag string) map[string]string {
	t.Helper()
	inspected, err := s.pool.Client.InspectImage(tag)
	if err != nil {
		t.Fatal(err)
	}
	return inspected.Config.Labels
}

// checkLabels checks those that every image has.
func checkLabels(t *testing.T, labels map[string]string, title, description string) {
	t.Helper()
	for name, want := range map[string]string{"title": title, "description": description, "licenses": "Apache-2.0"} {
		if got := labels[label+name]; got != want {
			t.Errorf("the label %s is %q, want %q", name, got, want)
		}
	}
	if version := labels[label+"version"]; !regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+`).MatchString(version) || strings.HasPrefix(version, "0.0.0") {
		t.Errorf("the label version is %q", version)
	}
}

// TestImageLabelsOfOthers: the mock service stands on no base; the image with a numeric user says that it is one.
func TestImageLabelsOfOthers(t *testing.T) {
	s := need(t)
	mock := s.labels(t, "signkit-mockapi")
	checkLabels(t, mock, "signkit-mockapi", "Mock of the signing service, for trials and tests")
	if base, has := mock[label+"base.name"]; has {
		t.Errorf("the mock service's base is %q", base)
	}
	for _, img := range s.images {
		got, full := s.labels(t, img.nonRoot()), s.labels(t, "signkit:"+img.Tag(images.Full))
		checkLabels(t, got, "signkit", "Linux signing tools whose keys stay in the signing service, started as a numeric user")
		for _, name := range []string{"version", "base.name"} {
			if got[label+name] != full[label+name] {
				t.Errorf("%s: the label %s is %q, want %q", img.nonRoot(), name, got[label+name], full[label+name])
			}
		}
		if mock[label+"version"] != full[label+"version"] {
			t.Errorf("the mock service is %q, %s is %q", mock[label+"version"], img.Name, full[label+"version"])
		}
	}
}

// programs are what scenarios call, in the order of the variants; commands says how many of them each variant has.
var (
	programs = strings.Fields(`tail id getent useradd groupadd su openssl pkcs11-tool p11-kit gpg gpg-agent gpgconf gpgv signkit
		curl p11tool git rpm rpmsign rpmkeys createrepo_c debsigs debsig-verify apt-ftparchive ar osslsigncode
		java jarsigner keytool mvn`)
	commands = map[images.Variant]int{
		images.Core: slices.Index(programs, "curl"), images.Full: slices.Index(programs, "java"), images.Java: len(programs),
	}
)

// programsOf leaves out what a scenario needs that the release is without.
func programsOf(img image, v images.Variant) []string {
	of := map[string]string{"debsigs": "deb", "debsig-verify": "deb", "apt-ftparchive": "apt-repository", "osslsigncode": "osslsigncode"}
	return slices.DeleteFunc(slices.Clone(programs[:commands[v]]), func(program string) bool { return img.Without[of[program]] != "" })
}

// TestVersions: the releases have the versions that images/matrix.json says, on which it is built what cannot be tried.
func TestVersions(t *testing.T) {
	s := need(t)
	for _, img := range s.images {
		t.Run(img.Name, func(t *testing.T) {
			t.Parallel()
			got := s.run(t, container{image: img.plain(), command: []string{"bash", "-c", "ldd --version | head -n 1; openssl version"}})
			tools := s.run(t, container{image: img.verifier("rpm"), command: []string{"bash", "-c", "gpg --version | head -n 1; rpm --version"}})
			for program, text := range map[string]string{
				"glibc": "^ldd .* " + regexp.QuoteMeta(img.Versions["glibc"]) + "\n", "openssl": "OpenSSL " + regexp.QuoteMeta(img.Versions["openssl"]) + "[.a-z]",
				"gnupg": "\\) " + regexp.QuoteMeta(img.Versions["gnupg"]) + "\n", "rpm": "RPM version " + regexp.QuoteMeta(img.Versions["rpm"]) + "[.\n]",
			} {
				if !regexp.MustCompile(text).MatchString(got.stdout + tools.stdout) {
					t.Errorf("%s is not %s:\n%s%s", program, img.Versions[program], got.stdout, tools.stdout)
				}
			}
		})
	}
}

// TestVerifiersHaveNothingOfSignkit: who verifies must not lean on what signed.
func TestVerifiersHaveNothingOfSignkit(t *testing.T) {
	s := need(t)
	for _, img := range s.images {
		for _, name := range img.all() {
			if !strings.HasPrefix(name, "signkit-verifier:") {
				continue
			}
			t.Run(strings.TrimPrefix(name, "signkit-verifier:"), func(t *testing.T) {
				t.Parallel()
				got := s.run(t, container{image: name, command: []string{"bash", "-c",
					`find / -xdev -iname '*signkit*' ! -path '/proc/*' ! -path '/etc/apt/*'; env | grep -i sign`}})
				if got.stdout != "" {
					t.Errorf("has %s", got.stdout)
				}
			})
		}
	}
}
