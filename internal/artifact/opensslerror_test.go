package artifact

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCauseInOpenSSLErrorQueues reads what openssl 1.1.1w, 3.0.19 and 3.5.9 printed, testdata/openssl-errors/NAME.VERSION.txt.
func TestCauseInOpenSSLErrorQueues(t *testing.T) {
	all := []string{"1.1.1", "3.0", "3.5"}
	tests := []struct {
		name, want string
		versions   []string
	}{
		{"certificate-twice", "CMS routines: certificate already present", []string{"1.1.1", "3.0"}}, // 3.2 and later take it
		{"other-certificate", "x509 certificate routines: key values mismatch", all},
		{"wrong-pin", "PKCS#11 module: PIN incorrect", all},
		{"no-such-key", "pkcs11 engine: object not found", all},
		{"no-engine", noEngine("engines-1.1"), []string{"1.1.1"}},
		{"no-engine", noEngine("engines-3"), []string{"3.0", "3.5"}},
		{"untrusted", "CMS routines: certificate verify error: Verify error:self signed certificate", []string{"1.1.1"}},
		{"untrusted", "CMS routines: certificate verify error: Verify error: self-signed certificate", []string{"3.0", "3.5"}},
		{"tampered", "CMS routines: verification failure", all},
		{"cut-off", "asn1 encoding routines: not enough data", all},
		{"no-signer-file", "system library: No such file or directory: fopen('nope','r')", []string{"1.1.1"}},
		{"no-signer-file", "system library: No such file or directory: calling stat(nope)", []string{"3.0"}},
		{"no-signer-file", "", []string{"3.5"}}, // it prints no queue then
	}
	seen := map[string]bool{}
	for _, test := range tests {
		for _, version := range test.versions {
			file := filepath.Join("testdata", "openssl-errors", test.name+"."+version+".txt")
			seen[file] = true
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := opensslCause(string(text)); got != test.want {
				t.Errorf("%s: %q, want %q", file, got, test.want)
			}
		}
	}
	files, err := filepath.Glob("testdata/openssl-errors/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !seen[file] {
			t.Errorf("%s is not read", file)
		}
	}
}

// TestFailedToolShowsTheCause: the person sees the oldest error of the queue, and where there is none, the last line.
func TestFailedToolShowsTheCause(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for name, want := range map[string]string{
		"wrong-pin.1.1.1.txt":    "openssl: PKCS#11 module: PIN incorrect", // "unable to load signing key file" comes last
		"no-signer-file.3.5.txt": "openssl: Could not open file or uri for loading signer certificate from nope: No such file or directory",
	} {
		recorded, err := filepath.Abs(filepath.Join("testdata", "openssl-errors", name))
		if err != nil {
			t.Fatal(err)
		}
		tool := filepath.Join(dir, "openssl")
		if err := os.WriteFile(tool, []byte("#!/bin/sh\ncat '"+recorded+"' >&2\nexit 2\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err = run(t.Context(), os.Environ(), "", "openssl", "cms")
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

func noEngine(folder string) string {
	file := "/usr/lib/x86_64-linux-gnu/" + folder + "/nope.so"
	return "DSO support routines: could not load the shared library: filename(" + file + "): " + file +
		": cannot open shared object file: No such file or directory"
}
