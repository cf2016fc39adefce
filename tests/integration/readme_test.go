package integration

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// readmeBlock is a block of shell that README.md marks as one to run: <!-- run: NAME -->.
var readmeBlock = regexp.MustCompile("(?s)<!-- run: ([a-z]+) -->\n```sh\n(.*?)```")

// TestReadmeLines runs the lines of README.md as they are printed, in a folder with what they name.
func TestReadmeLines(t *testing.T) {
	s := need(t)
	s.needImage(t, "debian-13")
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	// Each leaves the files named; for "rpm" and "ci" the package itself is signed.
	leaves := map[string][]string{"rpm": nil, "gpg": {"app.tar.gz.asc"}, "openssl": {"app.tar.gz.sig"}, "ci": {"signed.json"},
		"job": {"signed.json", "app.tar.gz.asc"}, "verify": nil}
	found := map[string]bool{}
	for _, block := range readmeBlock.FindAllStringSubmatch(string(text), -1) {
		name, script := block[1], block[2]
		found[name] = true
		if _, known := leaves[name]; !known {
			t.Errorf("README.md marks %q, and nothing is known to come from it", name)
		}
		var debian13 []cell
		for _, c := range s.inAll(users[:1], cell{sample: "git", form: "readme-" + name, key: "demo/gpg-rsa-4096"}) {
			if c.image.Name == "debian-13" {
				debian13 = append(debian13, c)
			}
		}
		s.each(t, debian13, func(w *workplace) {
			w.readmeFolder()
			if output, err := w.onHost(script); err != nil {
				w.Fatalf("%v\n%s", err, output)
			}
			for _, file := range leaves[name] {
				if _, err := os.Stat(filepath.Join(w.dir, file)); err != nil {
					w.Error(err)
				}
			}
			w.judgeReadme(name)
			// Where one file is missing, the others do not make it green.
			if missing := map[string]string{"gpg": "app.tar.gz", "openssl": "app.tar.gz", "rpm": "dist", "ci": "dist", "job": "app.tar.gz",
				"verify": "release.asc"}[name]; missing != "" {
				if err := os.RemoveAll(filepath.Join(w.dir, missing)); err != nil {
					w.Fatal(err)
				}
				if output, err := w.onHost(script); err == nil {
					w.Errorf("without %s it ends well\n%s", missing, output)
				}
			}
		})
	}
	if want := slices.Sorted(maps.Keys(leaves)); len(found) != len(want) {
		t.Errorf("README.md marks %v, want %v", slices.Sorted(maps.Keys(found)), want)
	}
}

// readmeFolder has signpath.env, app.tar.gz and an unsigned package in dist/. The service's CA is in the folder, too.
func (w *workplace) readmeFolder() {
	w.Helper()
	w.copy(w.service.caFile(), "ca.pem")
	w.write("signpath.env", strings.Join(w.service.settings("SIGNKIT_CA_FILE=/src/ca.pem", "SIGNPATH_PROJECT_SLUG=demo",
		"SIGNPATH_SIGNING_POLICY_SLUG=gpg-rsa-4096"), "\n")+"\n")
	w.write("app.tar.gz", "content\n")
	w.windowsFiles("program")
	w.jar("demo.jar")
	if got := w.tool("bash", "-euo", "pipefail", "-c", packages+"signkit certificate demo/rsa-3072 --output leaf.pem; rm -f dist/*.exe dist/*.jar dist/*.deb dist/*.gz; chmod -R a+rwX ."); got.code != 0 {
		w.Fatalf("making a package ended with %d", got.code)
	}
	if w.form == "readme-verify" {
		if got := w.tool("bash", "-euo", "pipefail", "-c", "export SIGNPATH_PROJECT_SLUG=demo SIGNPATH_SIGNING_POLICY_SLUG=gpg-rsa-4096; "+
			"signkit sign dist/*.rpm; signkit gpg export --output release.asc; chmod -R a+rwX ."); got.code != 0 {
			w.Fatalf("signing a package ended with %d", got.code)
		}
	}
	if w.form == "readme-openssl" { // its key is not the one that the slugs narrow to
		w.write("signpath.env", strings.Join(w.service.settings("SIGNKIT_CA_FILE=/src/ca.pem"), "\n")+"\n")
	}
}

// onHost runs shell on this machine, in the folder, as README.md's reader does.
func (w *workplace) onHost(script string) (string, error) {
	command := exec.CommandContext(within(w.T, commandLimit), "bash", "-euo", "pipefail", "-c", script)
	command.Dir = w.dir
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	command.WaitDelay = 10 * time.Second // what it has left behind may hold them
	err := command.Run()
	return output.String(), err
}

func (w *workplace) judgeReadme(name string) {
	w.Helper()
	checks := []check{{"package", name != "openssl", "rpmkeys --dbpath $PWD/db --import public.asc && " +
		"rpmkeys --dbpath $PWD/db --checksig -v dist/demo.rpm | grep -i 'signature.*OK$'"}}
	switch name {
	case "gpg", "job":
		checks = append(checks, check{"file", true, "gpg --batch --dearmor --output keyring.gpg public.asc && gpgv --keyring ./keyring.gpg app.tar.gz.asc app.tar.gz"})
	case "openssl":
		checks = append(checks, check{"file", true, "openssl x509 -in leaf.pem -noout -pubkey >leaf.pub && " +
			"openssl dgst -sha256 -verify leaf.pub -signature app.tar.gz.sig app.tar.gz"})
	}
	w.judge(w.image.verifier(w.sample), "", checks...)
}
