package artifact

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for a program, far beyond what that takes on a busy machine.
const patience = 5 * time.Minute

// TestOpenPGPFormatsAreSignedAndJudgedByTheirTools signs each format with a key that gpg itself holds, and requires the verifier
// to take the result, and to refuse the unsigned file, a tampered one, and another key.
func TestOpenPGPFormatsAreSignedAndJudgedByTheirTools(t *testing.T) {
	ours, other := softKey(t, "ours"), softKey(t, "other")
	tests := []struct {
		kind  Kind
		make  func(t *testing.T) string
		tools []string
	}{
		{Plain, func(t *testing.T) string { return textFile(t, "app.tar.gz", "content\n") }, nil},
		{YumIndex, yumIndex, nil},
		{AptRelease, func(t *testing.T) string { return aptRelease(t, "Suite: stable \n-dash: escaped\nDate: today\n") }, nil},
		{RPM, func(t *testing.T) string { return rpmPackage(t) }, []string{"rpmsign", "rpmkeys", "rpmbuild"}},
		{Deb, func(t *testing.T) string { return debPackage(t) }, []string{"debsig-verify", "dpkg-deb"}},
	}
	for _, test := range tests {
		t.Run(string(test.kind), func(t *testing.T) {
			t.Parallel()
			need(t, test.tools...)
			file := test.make(t)
			verifier := &Verifier{PublicKey: ours.PublicKey, Environ: os.Environ()}
			if err := verifier.Verify(deadline(t), test.kind, file, filepath.Dir(file)); !errors.Is(err, ErrUnsigned) {
				t.Errorf("the unsigned file: %v, want ErrUnsigned", err)
			}
			if kind, err := Detect(file); kind != test.kind || err != nil {
				t.Errorf("Detect = %q, %v", kind, err)
			}
			signed, dir := signInto(t, &Signer{OpenPGP: ours, Environ: os.Environ()}, test.kind, file)
			if err := verifier.Verify(deadline(t), test.kind, signed, dir); err != nil {
				t.Errorf("the signed file: %v", err)
			}
			stranger := &Verifier{PublicKey: other.PublicKey, Environ: os.Environ()}
			if err := stranger.Verify(deadline(t), test.kind, signed, dir); err == nil {
				t.Error("another key verifies it")
			}
			tamper(t, signed)
			if err := verifier.Verify(deadline(t), test.kind, signed, dir); err == nil {
				t.Error("a tampered file verifies")
			}
		})
	}
}

// TestInReleaseOfAnotherReleaseIsRefused: both signatures are good, but not of the same text.
func TestInReleaseOfAnotherReleaseIsRefused(t *testing.T) {
	key := softKey(t, "ours")
	signer := &Signer{OpenPGP: key, Environ: os.Environ()}
	_, old := signInto(t, signer, AptRelease, aptRelease(t, "Suite: old\n"))
	file, dir := signInto(t, signer, AptRelease, aptRelease(t, "Suite: new\n"))
	if err := os.Rename(filepath.Join(old, "InRelease"), filepath.Join(dir, "InRelease")); err != nil {
		t.Fatal(err)
	}
	verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ()}
	if err := verifier.Verify(deadline(t), AptRelease, file, dir); err == nil || !strings.Contains(err.Error(), "another Release") {
		t.Errorf("Verify = %v", err)
	}
}

// TestFailedToolLeavesTheFileAlone: no key, no result, and the tool's own words.
func TestFailedToolLeavesTheFileAlone(t *testing.T) {
	key := softKey(t, "ours")
	key.Fingerprint = strings.Repeat("0", 40)
	file := textFile(t, "app.tar.gz", "content\n")
	out := t.TempDir()
	outputs, err := (&Signer{OpenPGP: key, Environ: os.Environ()}).Sign(deadline(t), Plain, file, out)
	var tool *ToolError
	if !errors.As(err, &tool) || tool.Tool != "gpg" || !strings.Contains(tool.Output, "No secret key") || outputs != nil {
		t.Errorf("Sign = %v, %v", outputs, err)
	}
	if content, err := os.ReadFile(file); string(content) != "content\n" || err != nil {
		t.Errorf("the file holds %q now (%v)", content, err)
	}
}

func TestMissingToolIsNamedWithItsPackage(t *testing.T) {
	key := softKey(t, "ours")
	t.Setenv("PATH", t.TempDir())
	_, err := (&Signer{OpenPGP: key, Environ: os.Environ()}).Sign(deadline(t), Plain, textFile(t, "a", "x"), t.TempDir())
	var missing *MissingToolError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "gpg is not installed (package gpg") {
		t.Errorf("Sign = %v", err)
	}
}

// deadline is a context for the programs that a test starts.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// signInto signs and places the results as a caller does: beside a copy, or in its stead.
func signInto(t *testing.T, s *Signer, kind Kind, file string) (signed, dir string) {
	t.Helper()
	work, dir := t.TempDir(), t.TempDir()
	outputs, err := s.Sign(deadline(t), kind, file, work)
	if err != nil {
		var tool *ToolError
		if errors.As(err, &tool) {
			t.Log(tool.Output)
		}
		t.Fatal(err)
	}
	dir = filepath.Join(dir, filepath.Base(filepath.Dir(file)))
	signed = filepath.Join(dir, filepath.Base(file))
	if err := os.CopyFS(dir, os.DirFS(filepath.Dir(file))); err != nil { // what an index lists comes along
		t.Fatal(err)
	}
	for _, output := range outputs {
		if err := os.Rename(output.Path, filepath.Join(dir, output.Name)); err != nil {
			t.Fatal(err)
		}
	}
	return signed, dir
}

// softKey makes a GNUPGHOME with a key of its own; its path is short, as the agent's socket wants.
func softKey(t *testing.T, name string) *OpenPGP {
	t.Helper()
	need(t, "gpg", "gpgconf", "gpg-agent")
	home, err := os.MkdirTemp("", "sk")
	if err != nil {
		t.Fatal(err)
	}
	environ := append(os.Environ(), "GNUPGHOME="+home)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, what := range [][]string{{"--kill", "all"}, {"--remove-socketdir"}} {
			command := exec.CommandContext(ctx, "gpgconf", what...)
			command.Env = environ
			if err := command.Run(); err != nil {
				t.Error(err)
			}
		}
		os.RemoveAll(home)
	})
	gpg := func(args ...string) string {
		command := exec.CommandContext(deadline(t), "gpg", append([]string{"--batch", "--passphrase", "", "--pinentry-mode", "loopback"}, args...)...)
		command.Env = environ
		output, err := command.Output()
		if err != nil {
			t.Fatalf("gpg %v: %v", args, err)
		}
		return string(output)
	}
	// debsigs of some releases asks gpg for SHA-1 unless the key's owner prefers better.
	write(t, filepath.Join(home, "gpg.conf"), "personal-digest-preferences SHA512 SHA384 SHA256\n")
	gpg("--quick-generate-key", name+" <"+name+"@example.com>", "rsa2048", "sign", "never")
	key := &OpenPGP{Home: home, PublicKey: filepath.Join(home, "public.asc")}
	for line := range strings.Lines(gpg("--with-colons", "--list-keys")) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			key.Fingerprint = fields[9]
		}
	}
	write(t, key.PublicKey, gpg("--armor", "--export"))
	return key
}

func textFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	write(t, path, content)
	return path
}

func rpmPackage(t *testing.T, options ...string) string {
	t.Helper()
	dir := t.TempDir()
	spec := "Name: demo\nVersion: 1\nRelease: 1\nSummary: demo\nLicense: MIT\nBuildArch: noarch\n%description\ndemo\n%files\n"
	write(t, filepath.Join(dir, "demo.spec"), spec)
	options = append([]string{"-bb", "--quiet", "--define", "_topdir " + dir, "--define", "_rpmdir " + dir}, options...)
	shell(t, dir, "rpmbuild", append(options, "demo.spec")...)
	return filepath.Join(dir, "noarch", "demo-1-1.noarch.rpm")
}

func debPackage(t *testing.T, options ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "demo", "DEBIAN"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "demo", "DEBIAN", "control"),
		"Package: demo\nVersion: 1\nArchitecture: all\nMaintainer: Demo <demo@example.com>\nDescription: demo\n")
	shell(t, dir, "dpkg-deb", append(options, "--build", "--root-owner-group", "demo", "demo_1_all.deb")...)
	return filepath.Join(dir, "demo_1_all.deb")
}

func shell(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	command := exec.CommandContext(deadline(t), name, args...)
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, output)
	}
}

// tamper changes one octet near the end: the start of an rpm has room that nothing covers.
func tamper(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)*19/20] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// need skips a test where a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
}
