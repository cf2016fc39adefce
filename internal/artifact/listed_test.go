package artifact

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
		{"a file outside", release(line("main/Packages", "packages"), line("../../outside", "x")), "escapes"},
		{"fields in lower case", "suite: stable\nsha256:\n" + line("main/Packages", "other"), `stale: "main/Packages" is not the file`},
		{"a stronger list of other files", release(line("main/Packages", "other")) + fmt.Sprintf("SHA512:\n %x 2 main/Packages.gz\n", sha512.Sum512([]byte("gz"))), "stale:"},
		{"a field that is there twice", release(line("main/Packages", "packages")) + "sha256:\n", "there twice"},
		{"a file with two digests", release(line("main/Packages", "packages"), line("main/Packages", "other")), "lists a file twice"},
		{"a second paragraph", release(line("main/Packages", "packages")) + "\nOrigin: demo\n", "more than one paragraph"},
		{"a line that lists nothing", release(" 00 main/Packages\n"), "lists no file"},
		{"no list", "Suite: stable\n", "stale: Release lists no file"},
		{"an empty list", "Suite: stable\nSHA256:\n", "stale: Release lists no file"},
		{"itself alone", "Suite: stable\nSHA256:\n" + line("InRelease", ""), "stale: Release lists no file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := textFile(t, "Release", test.release)
			if err := os.Mkdir(filepath.Join(filepath.Dir(file), "main"), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(filepath.Dir(file), "main", "Packages"), "packages")
			write(t, filepath.Join(filepath.Dir(file), "main", "Packages.gz"), "gz")
			err := checkAptRelease(deadline(t), file)
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

// TestInReleaseAloneIsEnoughForVerifying, and for nothing else: signing makes both signatures.
func TestInReleaseAloneIsEnoughForVerifying(t *testing.T) {
	key := softKey(t, "ours")
	for name, test := range map[string]struct {
		file   string // that is named
		change func(t *testing.T, dir string)
		want   string
	}{
		"InRelease": {"InRelease", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "Release")) }, ""},
		"Release":   {"Release", func(*testing.T, string) {}, ""},
		"InRelease with a changed file": {
			"InRelease", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "Packages"), "other") }, `stale: "Packages"`,
		},
		"Release that is another": {
			"Release", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "Release"), "Suite: other\n") }, "another Release",
		},
		"InRelease that is changed": {"InRelease", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "InRelease")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, strings.Replace(string(data), "Suite: stable", "Suite: oldest", 1))
		}, "gpgv"},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir := signInto(t, &Signer{OpenPGP: key, Environ: os.Environ()}, AptRelease, aptRelease(t, "Suite: stable\n"))
			remove(t, filepath.Join(dir, "Release.gpg"))
			test.change(t, dir)
			jobs, leftOut, err := Plan([]string{filepath.Join(dir, test.file)}, "", false)
			if err != nil {
				t.Fatal(err)
			}
			if test.file == "InRelease" && len(jobs) > 0 {
				t.Error("an InRelease would be signed")
			}
			if jobs, leftOut = WithInRelease(jobs, leftOut); len(jobs) != 1 || len(leftOut) > 0 {
				t.Fatalf("jobs %v, left out %v", jobs, leftOut)
			}
			verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ(), InReleaseAlone: true}
			wantText(t, verifier.Verify(deadline(t), jobs[0].Kind, jobs[0].File, dir), test.want)
			verifier.PublicKey = ""
			if other, ok := errors.AsType[*NotComparedError](verifier.Verify(deadline(t), jobs[0].Kind, jobs[0].File, dir)); !ok || !strings.Contains(other.Signers, key.Fingerprint) {
				t.Errorf("where nobody is named: %v", other)
			}
			if test.file == "Release" {
				strict := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ()}
				wantText(t, strict.Verify(deadline(t), jobs[0].Kind, jobs[0].File, dir), "Release.gpg is missing")
			}
		})
	}
}

// aptRelease makes a repository with one file, and its Release with these fields.
func aptRelease(t *testing.T, fields string) string {
	t.Helper()
	file := textFile(t, "Release", fmt.Sprintf("%sSHA256:\n %x 8 Packages\n", fields, sha256.Sum256([]byte("packages"))))
	write(t, filepath.Join(filepath.Dir(file), "Packages"), "packages")
	return file
}

// TestNothingWaitsForAPipe, nor fills the memory: lists, what they list, and signatures are files of a size that one has.
func TestNothingWaitsForAPipe(t *testing.T) {
	t.Parallel()
	key := softKey(t, "ours")
	const huge, pipe = "is longer than", "is not a regular file"
	for name, test := range map[string]struct {
		kind   Kind
		make   func(t *testing.T) string
		bad    string // from the file's folder
		signed bool
		wants  []string
	}{
		"a signature":             {Plain, func(t *testing.T) string { return textFile(t, "app.tar.gz", "content\n") }, "app.tar.gz.asc", false, []string{pipe, huge}},
		"InRelease":               {AptRelease, func(t *testing.T) string { return aptRelease(t, "Suite: stable\n") }, "InRelease", false, []string{pipe, huge}},
		"what a Release lists":    {AptRelease, func(t *testing.T) string { return aptRelease(t, "Suite: stable\n") }, "Packages", true, []string{pipe}},
		"what a repomd.xml lists": {YumIndex, yumIndex, "primary.xml", true, []string{pipe}},
	} {
		for _, want := range test.wants {
			t.Run(name+" "+want, func(t *testing.T) {
				file := test.make(t)
				dir := filepath.Dir(file)
				if test.signed {
					outputs, err := (&Signer{OpenPGP: key, Environ: os.Environ()}).Sign(deadline(t), test.kind, file, t.TempDir())
					if err != nil {
						t.Fatal(err)
					}
					for _, output := range outputs {
						if err := os.Rename(output.Path, filepath.Join(dir, output.Name)); err != nil {
							t.Fatal(err)
						}
					}
				}
				bad := filepath.Join(dir, test.bad)
				if test.signed {
					remove(t, bad)
				}
				if want == pipe {
					if err := syscall.Mkfifo(bad, 0o600); err != nil {
						t.Fatal(err)
					}
				} else {
					write(t, bad, "")
					if err := os.Truncate(bad, mostIndex+1); err != nil {
						t.Fatal(err)
					}
				}
				verified := make(chan error, 1)
				go func() {
					verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ(), InReleaseAlone: true}
					verified <- verifier.Verify(context.Background(), test.kind, file, dir)
				}()
				select {
				case err := <-verified:
					wantText(t, err, want)
				case <-deadline(t).Done():
					t.Fatal("it waits for somebody who writes to the pipe")
				}
			})
		}
	}
}
