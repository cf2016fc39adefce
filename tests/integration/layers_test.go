package integration

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"signkit/images"
)

// nonRoot is the image of a release that starts as a user other than root.
func (i image) nonRoot() string { return "signkit:" + i.Tag(images.Full) + "-nonroot" }

// secretName is how a variable of this process is named that CI systems keep out of their logs.
var secretName = regexp.MustCompile(`(?i)token|secret|password|passphrase|api_?key`)

// secrets are the tokens of this run's services, and what secrets the run itself was given.
func (s *setup) secrets() (list []string) {
	for _, service := range s.all {
		// They have one and the same.
		if token := service.setting("SIGNPATH_API_TOKEN"); !slices.Contains(list, token) {
			list = append(list, token)
		}
	}
	for _, v := range os.Environ() {
		// Shorter ones are words that files have, too.
		if name, value, _ := strings.Cut(v, "="); secretName.MatchString(name) && len(value) >= 12 {
			list = append(list, value)
		}
	}
	return list
}

// TestLayers reads every file of every layer, and the description of every image with its history: no token, no key, no compiler,
// and no program that changes its user but in the layers of the distribution.
func TestLayers(t *testing.T) {
	s := need(t)
	for _, img := range s.images {
		t.Run(img.Name, func(t *testing.T) {
			t.Parallel()
			// In one go, since layers that images share are written once then. The verifiers tell which layers are the distribution's.
			tags := append(img.all(), img.nonRoot())
			scan := s.scanImages(t, tags)
			for _, f := range scan.findings {
				t.Errorf("%s (%s): %s", scan.of(f.entry), f.entry, f.text)
			}
			for _, f := range scan.setID {
				if of := scan.of(f.entry); !slices.ContainsFunc(of, distributions) {
					t.Errorf("%s (%s): %s", of, f.entry, f.text)
				}
			}
			if len(scan.setID) == 0 {
				t.Error("not even the distribution's su changes its user: modes were not read")
			}
		})
	}
}

// distributions reports whether an image has nothing of signkit.
func distributions(tag string) bool { return strings.HasPrefix(tag, "signkit-verifier:") }

func (s *setup) scanImages(t *testing.T, tags []string) *scanner {
	t.Helper()
	save := exec.CommandContext(within(t, buildLimit), "docker", append([]string{"save"}, tags...)...)
	stream, err := save.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := save.Start(); err != nil {
		t.Fatal(err)
	}
	scan := &scanner{secrets: s.secrets()}
	err = scan.scan(stream)
	if err != nil {
		_ = save.Process.Kill() // it waits for a reader
	}
	if err := errors.Join(err, save.Wait()); err != nil {
		t.Fatal(err)
	}
	var saved []string
	for _, i := range scan.images {
		saved = append(saved, i.RepoTags...)
	}
	for _, tag := range tags {
		if !slices.Contains(saved, tag) && !slices.Contains(saved, tag+":latest") {
			t.Errorf("%s was not read", tag)
		}
	}
	return scan
}

// listSetID prints each program that changes its user or group: mode, user:group, path, and whether a package brings it. Before
// Debian 13, packages list some programs under the folders that are links to those under /usr now.
const listSetID = `cd /
mapfile -t lines < <(find / -xdev -type f -perm /6000 -printf '%m %U:%G %p\n' | sort)
paths=("${lines[@]#* * }")
# One call for all: each reads the lists of all packages. Its lines are PACKAGE: PATH.
packages=$(dpkg -S "${paths[@]}" "${paths[@]#/usr}" 2>/dev/null)$'\n'
for line in "${lines[@]}"; do
	path=${line#* * } by=nobody
	if [[ $packages == *": $path"$'\n'* || $packages == *": ${path#/usr}"$'\n'* ]] || rpm -qf "$path" >/dev/null 2>&1; then by=package; fi
	echo "$line $by"
done`

// TestImageSetID: programs that change their user are the base's and those of distribution packages; signkit adds none.
func TestImageSetID(t *testing.T) {
	s := need(t)
	list := func(t *testing.T, tag string) []string {
		got := s.run(t, container{image: tag, user: user{id: "0:0"}, command: []string{"bash", "-c", listSetID}})
		if got.code != 0 {
			t.Fatalf("listing those of %s ended with %d", tag, got.code)
		}
		return strings.Split(strings.TrimSpace(got.stdout), "\n")
	}
	for _, img := range s.images {
		for _, v := range images.Variants {
			t.Run(img.Tag(v), func(t *testing.T) {
				t.Parallel()
				tag := "signkit:" + img.Tag(v)
				base, verifier := list(t, s.labels(t, tag)[label+"base.name"]), list(t, "signkit-verifier:"+img.Tag(v))
				for _, fault := range setIDFaults(base, verifier) {
					t.Errorf("of the packages: %s", fault)
				}
				tags := []string{tag}
				if v == images.Full {
					tags = append(tags, img.nonRoot())
				}
				for _, tag := range tags {
					if got := list(t, tag); !slices.Equal(got, verifier) {
						t.Errorf("%s has\n%s\nwithout signkit, there are\n%s", tag, strings.Join(got, "\n"), strings.Join(verifier, "\n"))
					}
				}
			})
		}
	}
}

// setIDFaults are those lines of listSetID for an image that are neither its base's nor any package's.
func setIDFaults(base, image []string) (faults []string) {
	for _, line := range image {
		if !slices.Contains(base, line) && !strings.HasSuffix(line, " package") {
			faults = append(faults, line)
		}
	}
	return faults
}

// TestImageSetIDFaults: a name that a base has elsewhere, or with another owner, excuses nothing.
func TestImageSetIDFaults(t *testing.T) {
	base := []string{"4755 0:0 /usr/bin/su package", "4755 0:0 /opt/base nobody"}
	for _, test := range []struct {
		line  string
		fault bool
	}{
		{"4755 0:0 /usr/bin/su package", false},
		{"4755 0:0 /opt/base nobody", false},
		{"4755 0:0 /usr/lib/openssh/ssh-keysign package", false},
		{"4755 0:0 /opt/su nobody", true},
		{"6755 0:0 /opt/base nobody", true},
		{"4755 0:0 /usr/lib/signkit/signkit-tokend nobody", true},
	} {
		if got := setIDFaults(base, []string{test.line}); (len(got) > 0) != test.fault {
			t.Errorf("%q: faults %q", test.line, got)
		}
	}
}

// TestNonRoot: the image starts as a numeric user and signs, with a home of its own and as a uid that OpenShift would pick.
func TestNonRoot(t *testing.T) {
	s := need(t)
	for _, u := range []user{{name: "own"}, {name: "random-uid", id: "1000650000:0", readOnly: true}} {
		s.each(t, s.inAll([]user{u}, cell{sample: "git", form: "nonroot", key: "demo/gpg-rsa-4096"}), func(w *workplace) {
			w.write("file", "content\n")
			got := w.setup.run(w.T, container{
				image: w.image.nonRoot(), user: w.user, network: true, env: w.service.settings(),
				binds: w.service.binds(), dir: w.dir,
				command: []string{"bash", "-euc", "id -u; signkit sign --key demo/gpg-rsa-4096 file"},
			})
			want := "10001\n"
			if w.user.id != "" {
				want = "1000650000\n"
			}
			if got.code != 0 || got.stdout != want {
				w.Errorf("ended with %d as %q", got.code, got.stdout)
			}
		})
	}
}
