package integration

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	moduleInImage  = "/usr/lib/signkit/libsignkit-pkcs11.so"
	samplesInImage = "/usr/share/signkit/samples"
)

// cell is one combination that a test tries, and one line of the report.
type cell struct {
	sample string // folder of samples/; decides which images and variants the cell is for
	form   string // of signing, if the sample has several: the report's scenario is SAMPLE-FORM
	key    string // PROJECT/POLICY, or empty
	image  image
	user   user
	tag    string // of an image that a test has built for itself, on top of image; else that of the sample's variant
}

func (c cell) scenario() string { return strings.TrimSuffix(c.sample+"-"+c.form, "-") }

// inAll spreads cells over every image that is built here and has the sample's tools, and over the users.
func (s *setup) inAll(users []user, cells ...cell) []cell {
	var list []cell
	for _, i := range s.images {
		for _, c := range cells {
			if _, runs := i.Variant(c.sample); !runs {
				continue
			}
			for _, u := range users {
				c.image, c.user = i, u
				list = append(list, c)
			}
		}
	}
	return list
}

// each runs do for every cell, in a parallel subtest image/user/scenario-policy, and notes how it ends in the report.
func (s *setup) each(t *testing.T, cells []cell, do func(*workplace)) {
	for _, c := range cells {
		name := c.image.Name + "/" + c.user.name + "/" + c.scenario()
		if _, policy, found := strings.Cut(c.key, "/"); found {
			name += "-" + policy
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := s.borrow(t)
			s.report.note(t, outcome{Scenario: c.scenario(), Image: c.image.Name, Key: c.key, User: c.user.name})
			do(&workplace{T: t, cell: c, setup: s, service: service, dir: s.workDir(t)})
		})
	}
}

// workplace is what a cell's test works with: a folder that is the current one in containers, and a mock service that no other test
// uses until this one ends.
type workplace struct {
	*testing.T
	cell
	setup   *setup
	service *service
	dir     string
	more    []string // variables for tool, besides the service's settings
}

// tool runs a command in the cell's image, as its user, with the settings that let it sign.
func (w *workplace) tool(command ...string) result {
	w.Helper()
	return w.setup.run(w.T, container{
		image: cmp.Or(w.tag, w.image.tag(w.sample)), user: w.user, network: true, env: w.service.settings(w.more...),
		binds: w.service.binds(), dir: w.dir, command: command,
	})
}

// inside is a file of the folder as containers see it.
func (w *workplace) inside(name string) string { return container{dir: w.dir}.inside() + "/" + name }

// script runs a script of the cell's sample as the image has it.
func (w *workplace) script(name string, arguments ...string) result {
	w.Helper()
	return w.tool(append([]string{samplesInImage + "/" + w.sample + "/" + name}, arguments...)...)
}

// sign runs the sample's sign.sh, which must succeed.
func (w *workplace) sign(arguments ...string) result {
	w.Helper()
	got := w.script("sign.sh", arguments...)
	if got.code != 0 {
		w.Fatalf("sign.sh ended with %d", got.code)
	}
	return got
}

// check is one thing that a verifier is asked.
type check struct {
	name    string
	good    bool   // must be accepted; else it must be refused
	command string // for bash, in the folder; $verify is the sample's verify.sh
}

// judge asks a container of the given image, without network and settings, every check. prepare is shell that goes before.
func (w *workplace) judge(image, prepare string, checks ...check) {
	w.Helper()
	script, want := questions(w.sample, prepare, checks)
	judged := w.setup.run(w.T, container{
		image: image, binds: []string{samplesForVerifiers(w.T)}, dir: w.dir, command: []string{"bash", "-c", script},
	})
	if judged.stdout != want {
		w.Errorf("verification says\n%swant\n%s", judged.stdout, want)
	}
}

// samplesForVerifiers mounts the samples of the repository, as those who verify get them.
func samplesForVerifiers(t *testing.T) string {
	t.Helper()
	return absolute(t, "samples") + ":/samples:ro"
}

// questions is the shell script that asks the checks, and what it prints if all is well.
func questions(sample, prepare string, checks []check) (script, want string) {
	var b, w strings.Builder
	fmt.Fprintf(&b, "set -e\nverify=/samples/%s/verify.sh\n%s\nset +e\n", sample, prepare)
	for _, c := range checks {
		fmt.Fprintf(&b, "echo '=== %[1]s' >&2\nif ( %[2]s ) >&2; then echo '%[1]s: accepted'; else echo '%[1]s: refused'; fi\n", c.name, c.command)
		fmt.Fprintf(&w, "%s: %s\n", c.name, map[bool]string{true: "accepted", false: "refused"}[c.good])
	}
	return b.String(), w.String()
}

// certificates writes PEM files into the folder: a key's certificate with the intermediate ones, as users get them.
func (w *workplace) certificates(name, key string) {
	w.Helper()
	pem, found := w.setup.certificates.Load(key)
	if !found {
		got := w.tool(samplesInImage+"/openssl/certificates.sh", key)
		if n := strings.Count(got.stdout, "BEGIN CERTIFICATE"); got.code != 0 || n != 2 {
			w.Fatalf("reading the certificates of %s ended with %d and %d certificates, want 2: leaf and intermediate", key, got.code, n)
		}
		pem = got.stdout
		w.setup.certificates.Store(key, pem)
	}
	w.write(name, pem.(string))
}

// roots writes the root certificate of all keys and one that has nothing to do with them.
func (w *workplace) roots(right, wrong string) {
	w.Helper()
	w.copy(filepath.Join(w.service.state, "signing-root.pem"), right)
	w.copy(filepath.Join(w.service.state, "ca.pem"), wrong)
}

func (w *workplace) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o666); err != nil {
		w.Fatal(err)
	}
}

func (w *workplace) copy(from, name string) {
	w.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		w.Fatal(err)
	}
	w.write(name, string(text))
}

// missing checks that a failed tool has left no file of that name.
func (w *workplace) missing(name string) {
	w.Helper()
	if _, err := os.Stat(filepath.Join(w.dir, name)); err == nil {
		w.Errorf("%s is there", name)
	}
}

// otherKey is a key of the same kind that has not signed.
func otherKey(key string) string {
	return cmp.Or(map[string]string{"demo/rsa-3072": "demo/rsa-2048", "demo/p-256": "demo/p-384"}[key], "demo/rsa-4096")
}
