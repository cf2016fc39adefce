// Package packaging tests what scripts/package.sh makes: the packages' lists of files, that they
// are the same each time, and that an installed package works and goes away again.
package packaging

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const version = "1.2.3"

var built = []string{"signkit", "signkit-mockapi", "signkit-tokend", "signkit-scdaemon", "notation-signkit", "libsignkit-pkcs11.so"}

// pack runs the script on a folder of built files.
func pack(t *testing.T, build, arch string, formats ...string) string {
	t.Helper()
	output := t.TempDir()
	cmd := bounded(t, "../scripts/package.sh", append([]string{build, arch, output}, formats...)...)
	cmd.Env = append(os.Environ(), "VERSION="+version, "SOURCE_DATE_EPOCH=1700000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("package.sh: %v\n%s", err, out)
	}
	return output
}

// bounded is a command that is ended when it hangs.
func bounded(t *testing.T, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // a compilation on a busy machine
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// stand-ins for what was built: the packing does not look into files.
func standIns(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range append(slices.Clone(built), "signkit.cdx.json") {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not here", name)
	}
	var stderr bytes.Buffer
	cmd := bounded(t, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// TestPackagesHaveTheseFiles is the one test that is not parallel: it comes first, and the tool that packs is compiled once.
func TestPackagesHaveTheseFiles(t *testing.T) {
	build := standIns(t)
	for _, c := range []struct{ arch, rpm string }{{"amd64", "x86_64"}, {"arm64", "aarch64"}} {
		t.Run(c.arch, func(t *testing.T) {
			dir := pack(t, build, c.arch)
			deb := filepath.Join(dir, "signkit_"+version+"-1_"+c.arch+".deb")
			rpm := filepath.Join(dir, "signkit-"+version+"-1."+c.rpm+".rpm")
			tarball := filepath.Join(dir, "signkit-"+version+"-linux-"+c.arch+".tar.gz")
			compare(t, "deb.txt", debFiles(output(t, "dpkg-deb", "--contents", deb)))
			compare(t, "rpm.txt", lines(output(t, "rpm", "-qp", "--qf",
				`[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES} %{FILEFLAGS:fflags} %{FILELINKTOS}\n]`, rpm)))
			compare(t, "tar.txt", debFiles(output(t, "tar", "--list", "--verbose", "--gzip", "--file", tarball)))
			if conffiles := output(t, "dpkg-deb", "--info", deb, "conffiles"); conffiles != "/etc/signkit/openssl-engine.cnf\n/etc/signkit/openssl-provider.cnf\n" {
				t.Errorf("configuration files: %q", conffiles)
			}
			if got := output(t, "dpkg-deb", "--field", deb, "Architecture"); got != c.arch+"\n" {
				t.Errorf("the .deb is for %s", got)
			}
			if got := output(t, "rpm", "-qp", "--qf", "%{ARCH} %{BUILDTIME} %{LICENSE}", rpm); got != c.rpm+" 1700000000 Apache-2.0" {
				t.Errorf("the .rpm is %s", got)
			}
			copyright := output(t, "bash", "-c", `set -o pipefail; dpkg-deb --fsys-tarfile "$0" | tar -xO ./usr/share/doc/signkit/copyright`, deb)
			if !strings.Contains(copyright, "\nFiles: *\n") || !strings.Contains(copyright, "\nLicense: Apache-2.0\n") {
				t.Errorf("the .deb's copyright:\n%s", copyright)
			}
		})
	}
}

// debFiles leaves size and time out of what tar lists.
func debFiles(list string) []string {
	var files []string
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		files = append(files, fields[0]+" "+fields[1]+" "+strings.Join(fields[5:], " "))
	}
	return files
}

func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

// compare leaves samples and pages out, which come and go.
func compare(t *testing.T, golden string, got []string) {
	t.Helper()
	got = slices.DeleteFunc(got, func(line string) bool {
		return strings.Contains(line, "/samples/") && !strings.Contains(line, "/samples/openssl/") ||
			strings.Contains(line, "/doc/signkit/docs/") && !strings.HasSuffix(line, "/README.md")
	})
	for i, line := range got {
		got[i] = strings.ReplaceAll(strings.ReplaceAll(line, "-amd64/", "-ARCH/"), "-arm64/", "-ARCH/")
	}
	text := strings.Join(got, "\n") + "\n"
	path := filepath.Join("testdata", golden)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("files\n%s\nwant %s (UPDATE_GOLDEN=1 writes it)\n%s", text, path, want)
	}
}

func TestPackagesAreTheSameEachTime(t *testing.T) {
	t.Parallel()
	build := standIns(t)
	first, second := pack(t, build, "arm64"), pack(t, build, "arm64")
	files, err := os.ReadDir(first)
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		a, err := os.ReadFile(filepath.Join(first, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(second, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s is another one the second time", file.Name())
		}
	}
}

// TestInstalledPackageWorks installs the real .deb into a folder of its own, with the machine's
// own libraries, and purges it.
func TestInstalledPackageWorks(t *testing.T) {
	t.Parallel()
	build, err := filepath.Abs("../build")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range built {
		if _, err := os.Stat(filepath.Join(build, name)); err != nil {
			t.Skipf("make build has not made %s", name)
		}
	}
	root := emptySystem(t)
	dpkg := func(args ...string) {
		t.Helper()
		output(t, "dpkg", append([]string{"--root=" + root, "--force-not-root", "--force-bad-path", "--force-depends", "--force-script-chrootless", "--log=" + root + "/dpkg.log"}, args...)...)
	}
	dpkg("--install", filepath.Join(pack(t, build, runtime.GOARCH, "deb"), "signkit_"+version+"-1_"+runtime.GOARCH+".deb"))

	if got := output(t, root+"/usr/bin/signkit", "version"); !strings.HasPrefix(got, "signkit ") {
		t.Errorf("signkit version: %s", got)
	}
	if got := output(t, root+"/usr/bin/signkit", "uri", "demo/release", "--for", "pkcs11-tool", "--command"); !strings.Contains(got, root+"/usr/lib/signkit/libsignkit-pkcs11.so") {
		t.Errorf("signkit does not find the module beside it: %s", got)
	}
	if got := output(t, "pkcs11-tool", "--module", root+"/usr/lib/signkit/libSignPath.Cryptoki.so", "--show-info"); !strings.Contains(got, "Cryptoki version 2.40") {
		t.Errorf("the module says %s", got)
	}
	if got := output(t, root+"/usr/lib/signkit/signkit-tokend", "--version"); got == "" {
		t.Error("the token process says nothing of its version")
	}
	dpkg("--purge", "signkit")
	for _, dir := range []string{"usr", "etc/signkit"} {
		if left, err := filepath.Glob(filepath.Join(root, dir, "*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %q %v", left, err)
		}
	}
}

// emptySystem has the folders that dpkg wants.
func emptySystem(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"var/lib/dpkg/status", "var/lib/dpkg/available"} {
		if err := os.WriteFile(filepath.Join(root, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}
