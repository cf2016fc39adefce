package artifact

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// yumIndex makes a repository with one file, in the layout of createrepo_c, and returns its repomd.xml.
func yumIndex(t *testing.T) string {
	t.Helper()
	return yumIndexWith(t, "sha256", fmt.Sprintf("%x", sha256.Sum256([]byte("primary"))), "\n  ")
}

func yumIndexWith(t *testing.T, kind, sum, space string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repodata")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "primary.xml"), "primary")
	index := strings.Join([]string{
		`<repomd xmlns="http://linux.duke.edu/metadata/repo">`, `<data type="primary">`, `<checksum type="` + kind + `">` + sum + `</checksum>`,
		`<open-checksum type="` + kind + `">00</open-checksum>`, `<location href="repodata/primary.xml"/>`, `</data>`, `</repomd>`}, space)
	write(t, filepath.Join(dir, "repomd.xml"), index)
	return filepath.Join(dir, "repomd.xml")
}

// TestYumIndexIsTrueOfItsFiles, for the product and for the sample.
func TestYumIndexIsTrueOfItsFiles(t *testing.T) {
	need(t, "gpg", "gpgv")
	key := softKey(t, "ours")
	long := fmt.Sprintf("%x", sha512.Sum512([]byte("primary")))
	tests := []struct {
		name   string
		index  string
		change func(t *testing.T, dir string)
		want   string
	}{
		{"as createrepo_c writes it", yumIndex(t), nil, ""},
		{"SHA-512 in one line", yumIndexWith(t, "sha512", long, ""), nil, ""},
		{"a changed file", yumIndex(t), func(t *testing.T, dir string) { write(t, filepath.Join(dir, "primary.xml"), "other") }, "stale"},
		{"a missing file", yumIndex(t), func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "primary.xml")); err != nil {
				t.Fatal(err)
			}
		}, "stale"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			signed, dir := signInto(t, &Signer{OpenPGP: key, Environ: os.Environ()}, YumIndex, test.index)
			if test.change != nil {
				test.change(t, dir)
			}
			err := (&Verifier{PublicKey: key.PublicKey, Environ: os.Environ()}).Verify(deadline(t), YumIndex, signed, dir)
			output, sampled := sample(t, "yum-repository/verify.sh", key.PublicKey, filepath.Dir(dir))
			if (err == nil) != (test.want == "") || (sampled == nil) != (test.want == "") {
				t.Fatalf("Verify = %v; the sample: %v\n%s", err, sampled, output)
			}
			if _, stale := errors.AsType[*StaleError](err); test.want != "" && (!stale || !strings.Contains(output, test.want)) {
				t.Errorf("Verify = %v; the sample: %s", err, output)
			}
			if test.want == "" {
				return
			}
			// Nothing is signed that is not true.
			if _, err := (&Signer{OpenPGP: key, Environ: os.Environ()}).Sign(deadline(t), YumIndex, signed, t.TempDir()); err == nil {
				t.Error("a stale index was signed")
			}
		})
	}
}

func TestAptReleaseIsTrueOfItsFiles(t *testing.T) {
	need(t, "gpg", "gpgv")
	key := softKey(t, "ours")
	release := func(lines ...string) string {
		return "Suite: stable\nMD5Sum:\n 00 1 main/Packages\nSHA256:\n" + strings.Join(lines, "") + "Date: today\n"
	}
	line := func(name, content string) string {
		return fmt.Sprintf(" %x %d %s\n", sha256.Sum256([]byte(content)), len(content), name)
	}
	tests := []struct {
		name, release, want string
	}{
		{"as apt-ftparchive writes it", release(line("main/Packages", "packages"), line("main/Packages.gz", "gz"), line("Release", "")), ""},
		{"one compression is there", release(line("main/Packages", "packages"), line("main/Packages.xz", "not here")), ""},
		{"a changed file", release(line("main/Packages", "other")), `stale: "main/Packages" is not the file that is listed`},
		{"a missing file", release(line("main/Packages", "packages"), line("main/Contents.gz", "x")), "stale: main/Contents.gz is not there"},
		{"a file outside", release(line("../../outside", "x")), "escapes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := textFile(t, "Release", test.release)
			if err := os.Mkdir(filepath.Join(filepath.Dir(file), "main"), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(filepath.Dir(file), "main", "Packages"), "packages")
			write(t, filepath.Join(filepath.Dir(file), "main", "Packages.gz"), "gz")
			err := checkAptRelease(file)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("checkAptRelease = %v; want %q", err, test.want)
			}
			_, err = (&Signer{OpenPGP: key, Environ: os.Environ()}).Sign(deadline(t), AptRelease, file, t.TempDir())
			if (err == nil) != (test.want == "") {
				t.Errorf("Sign = %v; want %q", err, test.want)
			}
		})
	}
}
