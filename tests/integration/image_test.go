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
				if c.Labels["org.opencontainers.image.version"] == "" {
					t.Error("the image has no version label")
				}
			})
			t.Run(img.Tag(v)+"/files", func(t *testing.T) {
				t.Parallel()
				got := s.run(t, container{image: tag, user: users[1], command: []string{"bash", "-c",
					`cd /usr/lib/signkit && readlink libSignPath.Cryptoki.so && test -r libsignkit-pkcs11.so -a -x signkit-tokend -a -x signkit-scdaemon &&
					cat /etc/signkit/openssl-*.cnf /usr/share/p11-kit/modules/signkit.module /etc/gitconfig /etc/rpm/macros.signing >/dev/null &&
					test "$SIGNPATH_LOG_CONSOLE_LEVEL" = error && command -v ` + strings.Join(programs[:commands[v]], " ")}})
				if got.code != 0 || !strings.HasPrefix(got.stdout, filepath.Base(moduleInImage)+"\n") {
					t.Errorf("ended with %d", got.code)
				}
			})
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

// TestVersions: the releases have the versions that images/matrix.json says, on which it is built what cannot be tried.
func TestVersions(t *testing.T) {
	s := need(t)
	for _, img := range s.images {
		t.Run(img.Name, func(t *testing.T) {
			t.Parallel()
			got := s.run(t, container{image: img.plain(), command: []string{"bash", "-c", "ldd --version | head -n 1; openssl version"}})
			gpg := s.run(t, container{image: img.verifier("gpg"), command: []string{"bash", "-c", "gpg --version | head -n 1"}})
			for program, text := range map[string]string{
				"glibc": "^ldd .* " + regexp.QuoteMeta(img.Versions["glibc"]) + "\n", "openssl": "OpenSSL " + regexp.QuoteMeta(img.Versions["openssl"]) + "[.a-z]",
				"gnupg": "\\) " + regexp.QuoteMeta(img.Versions["gnupg"]) + "\n",
			} {
				if !regexp.MustCompile(text).MatchString(got.stdout + gpg.stdout) {
					t.Errorf("%s is not %s:\n%s%s", program, img.Versions[program], got.stdout, gpg.stdout)
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
