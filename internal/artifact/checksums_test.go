package artifact

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/blake2b"
)

// TestListsOfChecksums are known by their names, read in every form that tools write, and brought up to date in that form.
func TestListsOfChecksums(t *testing.T) {
	old, now := []byte("old\n"), []byte("now\n")
	sum := func(content []byte) string { return fmt.Sprintf("%x", sha256.Sum256(content)) }
	long := func(content []byte) string { return fmt.Sprintf("%x", sha512.Sum512(content)) }
	same := func(line string, digest func([]byte) string) func([]byte) string {
		return func(content []byte) string { return strings.ReplaceAll(line, "SUM", digest(content)) }
	}
	blake := func(content []byte) string { return fmt.Sprintf("%x", blake2b.Sum512(content)) }
	upper := func(content []byte) string { return strings.ToUpper(sum(content)) }
	for _, test := range []struct {
		name string
		text func([]byte) string
	}{
		{"SHA256SUMS", same("SUM  app.bin\n", sum)},
		{"SHA512SUMS", same("SUM *app.bin\n", long)},
		{"SHA256SUMS.txt", same("# made by hand\n\nSUM  ./app.bin", sum)},
		{"SHASUMS256.txt", same("SUM app.bin\n", sum)},
		{"demo_1.0_SHA256SUMS", same("SUM  app.bin\n", sum)},
		{"app.sha256", same("SHA256 (app.bin) = SUM\n", sum)},
		{"app.sha512", same("SHA2-512(app.bin)= SUM\n", long)},
		{"app.sha256sum", same("SUM  app.bin\r\n", sum)},
		{"app.bin.sha256", same("SUM", sum)},
		{"app.bin.md5", same("SUM\n", func(content []byte) string { return fmt.Sprintf("%x", md5.Sum(content)) })},
		{"checksums.txt", same("SUM  app.bin\n", upper)},
		{"demo_1.0_checksums.txt", same("SUM  app.bin\n", long)},
		{"B2SUMS", same("SUM  app.bin\n", blake)},
		{"checksums.b2sums", same("BLAKE2b (app.bin) = SUM\n", blake)},
		{"checksums.txt", same("BLAKE2B-512(app.bin)= SUM\n", blake)},
		{"SHA256SUMS-1.0", same("SUM  app.bin\n", sum)},
		{"SHA256SUMS-1.0rc1-amd64.txt", same("SUM  app.bin\n", sum)},
		{"CHECKSUMS-1.0", same("SUM  app.bin\n", sum)},
		{"CHECKSUM.SHA256-Demo-1.0-amd64", same("SHA256 (app.bin) = SUM\n", sum)},
		{"sha256sum-amd64.txt", same("SUM  app.bin\n", sum)},
		{"SHA256SUMS", same("SUM\tapp.bin\n", sum)},
		{"SHA256SUMS", same("\ufeffSUM  app.bin\n", sum)},
		{"app.bin.sha256", same("SUM\n\n", sum)},
		{"app.bin.sha256", same("# of app.bin\n\ufeffSUM \n", sum)},
		{"CHECKSUMS", same("MD5 (app.bin) = SUM\n", func(content []byte) string { return fmt.Sprintf("%x", md5.Sum(content)) })},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "app.bin"), string(now))
		path := filepath.Join(dir, test.name)
		write(t, path, test.text(old))
		list, err := checksumList(path)
		if err != nil || list == nil || !slices.Equal(list.names(), []string{"app.bin"}) {
			t.Errorf("%s: %+v, %v", test.name, list, err)
			continue
		}
		if _, err := (&Lists{}).compare(deadline(t), path, list, true); err == nil || !strings.Contains(err.Error(), "--update-checksums") {
			t.Errorf("%s: compare = %v", test.name, err)
		}
		renewed, err := (&Lists{Update: true}).compare(deadline(t), path, list, true)
		if err != nil || !slices.Equal(renewed, []string{"app.bin"}) || list.text() != test.text(now) {
			t.Errorf("%s: renewed %v (%v) to %q, want %q", test.name, renewed, err, list.text(), test.text(now))
		}
		if renewed, err := (&Lists{}).compare(deadline(t), path, list, true); err != nil || len(renewed) > 0 {
			t.Errorf("%s: the renewed list: %v, %v", test.name, renewed, err)
		}
	}
	for name, text := range map[string]string{
		"app.bin": sum(now) + "  app.bin\n", "sha256sum": elf.ELFMAG + "\x02", "checksum": "#!/bin/sh\n", "md5-1.0.tar.gz": "x", "checksums.go": "x",
		"SHA256SUMS.sign": "x", "sha256-cli": "x", "checksum-1.0.7z": "x", "SHA256SUMS-1.0.gz": "x",
	} {
		if list, err := checksumList(textFile(t, name, text)); list != nil || err != nil {
			t.Errorf("%s: %q is a list: %+v, %v", name, text, list, err)
		}
	}
}

// TestListThatCannotBeReadIsNoSignedFile like others: what it says is not compared, so it is neither signed nor verified unless the
// signature alone is asked for, and then a note says so.
func TestListThatCannotBeReadIsNoSignedFile(t *testing.T) {
	key := softKey(t, "ours")
	gpg := func(dir, name string) {
		shell(t, dir, "gpg", "--homedir", key.Home, "--batch", "--output", name+".asc", "--armor", "--detach-sign", name)
	}
	good := fmt.Sprintf("%x  a\n", sha256.Sum256([]byte("a")))
	for name, test := range map[string]struct{ file, text, want string }{
		"a heading":             {"SHA256SUMS", "Release 1.0, checksums:\n" + good, "line 1 is of no known form"},
		"a last line":           {"SHA256SUMS", good + "-- end\n", "line 2 is of no known form"},
		"another digest":        {"SHA256SUMS", good + fmt.Sprintf("%x  b\n", sha1.Sum([]byte("b"))), "line 2 has a digest of SHA1, and the name of the list says SHA256"},
		"only another digest":   {"SHA512SUMS", good, "line 1 has a digest of SHA256"},
		"a digest alone":        {"SHA256SUMS", good + good[:64] + "\n", "line 2 is of no known form"},
		"an unknown digest":     {"checksums", "SHA3-256 (a) = " + good[:64] + "\n", "not known, SHA3-256"},
		"a name of that digest": {"a.sha3-256", good, "not known, SHA3-256"},
		"digits too few":        {"checksums.txt", good[2:], "known length"},
		"digits of another":     {"a.sha256", "SHA1 (a) = " + good[:64] + "\n", "64 hex digits, not those of SHA1"},
		"nothing":               {"SHA256SUMS", "# nothing\n", "it lists no file"},
		"UTF-16":                {"SHA256SUMS", "\xff\xfe" + strings.Join(strings.Split(good, ""), "\x00") + "\x00", "no known form"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "a"), "another version")
			list := filepath.Join(dir, test.file)
			write(t, list, test.text)
			batch := &Batch{Hands: []*Hand{hand(key)}}
			results := batch.Run(deadline(t), []Job{{list, Plain}})
			wantStatus(t, results, Failed)
			wantText(t, results[0].Err, test.want)
			wantText(t, results[0].Err, "--detached asks for the signature alone")

			gpg(dir, test.file)
			var notes []string
			verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ()}
			verifier.Lists.Note = func(text string) { notes = append(notes, text) }
			wantText(t, verifier.Verify(deadline(t), Plain, list, dir), test.want)
			verifier.Lists.Detached = true
			wantText(t, verifier.Verify(deadline(t), Plain, list, dir), "")
			if len(notes) != 1 || !strings.Contains(notes[0], "not compared with the files that it lists: ") {
				t.Errorf("notes %q", notes)
			}

			remove(t, list+".asc")
			batch.Hands[0].Signer.Lists.Detached, batch.Hands[0].Verifier.Lists.Detached = true, true
			results = batch.Run(deadline(t), []Job{{list, Plain}})
			wantStatus(t, results, Signed)
			if len(results[0].Notes) != 1 {
				t.Errorf("notes of signing: %q", results[0].Notes)
			}
		})
	}
}

// TestDetachedListIsStillHeldAgainstItsFiles where it can be read.
func TestDetachedListIsStillHeldAgainstItsFiles(t *testing.T) {
	key := softKey(t, "ours")
	list := textFile(t, "SHA256SUMS", fmt.Sprintf("%x  a\n", sha256.Sum256([]byte("a"))))
	write(t, filepath.Join(filepath.Dir(list), "a"), "b")
	batch := &Batch{Hands: []*Hand{hand(key)}}
	batch.Hands[0].Signer.Lists.Detached = true
	results := batch.Run(deadline(t), []Job{{list, Plain}})
	wantStatus(t, results, Failed)
	wantText(t, results[0].Err, `stale: "a"`)
}

// TestListOfItselfAloneSaysNothing that could be true.
func TestListOfItselfAloneSaysNothing(t *testing.T) {
	list := textFile(t, "SHA256SUMS", fmt.Sprintf("%x  SHA256SUMS\n", sha256.Sum256(nil)))
	read, err := checksumList(list)
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&Lists{}).compare(deadline(t), list, read.withoutItself(list, armorBeside), false)
	wantText(t, err, "stale: it lists no file but itself")
}

// TestListIsSignedAfterItsFiles, and is refused where it does not say what they have become, unless it may be brought up to date.
func TestListIsSignedAfterItsFiles(t *testing.T) {
	need(t, "debsig-verify", "dpkg-deb", "sha256sum")
	key := softKey(t, "ours")
	verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ()}
	for _, folder := range []string{"", t.TempDir()} {
		dir := t.TempDir()
		if err := copyFile(deadline(t), debPackage(t), filepath.Join(dir, "demo_1_all.deb")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "app.tar.gz"), "content\n")
		shell(t, dir, "sh", "-c", "sha256sum --tag *.deb app.tar.gz SHA256SUMS >SHA256SUMS 2>/dev/null; sha512sum SHA256SUMS >SHA512SUMS; chmod 640 SHA256SUMS")
		file := func(name string) string { return filepath.Join(dir, name) }
		before := tree(t, dir)
		jobs := plan(t, folder, file("SHA512SUMS"), file("SHA256SUMS"), file("app.tar.gz"), file("demo_1_all.deb"))
		var done []string
		batch := &Batch{Hands: []*Hand{hand(key), hand(key)}, Folder: folder, Done: func(r Result) { done = append(done, filepath.Base(r.File)) }}
		results := batch.Run(deadline(t), jobs)
		wantStatus(t, results, Failed, Failed, Signed, Signed)
		if want := []string{"demo_1_all.deb", "app.tar.gz", "SHA256SUMS", "SHA512SUMS"}; !slices.Equal(done, want) {
			t.Errorf("done in the order %v, want %v", done, want)
		}
		wantText(t, results[1].Err, `stale: "demo_1_all.deb" is not as listed; --update-checksums`)
		wantText(t, results[0].Err, "not signed, since SHA256SUMS, which it lists, is not")
		if after := tree(t, dir); after["SHA256SUMS"] != before["SHA256SUMS"] || after["SHA256SUMS.asc"] != "" {
			t.Error("a list that is refused has changed")
		}

		batch.Hands[0].Signer.Lists.Update, batch.Hands[1].Signer.Lists.Update = true, true
		results = batch.Run(deadline(t), jobs)
		again := Skipped
		if folder != "" {
			again = Signed // whether the package there is the signed form of this one, nobody knows
		}
		wantStatus(t, results, Signed, Signed, Skipped, again)
		if want := []string{`brought up to date: "demo_1_all.deb"`}; !slices.Equal(results[1].Notes, want) {
			t.Errorf("notes %q, want %q", results[1].Notes, want)
		}
		signed := dir
		if folder != "" {
			signed = folder
			if now := tree(t, dir); fmt.Sprint(now) != fmt.Sprint(before) {
				t.Error("with a folder for results the files changed")
			}
			write(t, filepath.Join(folder, "app.tar.gz"), "content\n")
		}
		shell(t, signed, "sh", "-c", "grep -v 'SHA256 (SHA256SUMS)' SHA256SUMS | sha256sum --check --strict && sha512sum --check --strict SHA512SUMS")
		for i, name := range []string{"SHA512SUMS", "SHA256SUMS"} {
			path := filepath.Join(signed, name)
			if err := verifier.Verify(deadline(t), Plain, path, signed); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if sum, err := digest(deadline(t), path); sum != results[i].SHA256 || err != nil {
				t.Errorf("%s: the result tells the digest %s, want %s (%v)", name, results[i].SHA256, sum, err)
			}
		}
		if info, err := os.Stat(filepath.Join(signed, "SHA256SUMS")); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("the mode is %v (%v)", info.Mode(), err)
		}
		if folder == "" {
			wantStatus(t, batch.Run(deadline(t), jobs), Skipped, Skipped, Skipped, Skipped)
		}
	}
}

// TestListIsJudgedWithItsFiles: those must be there, unless they may be missing, and then not all of them.
func TestListIsJudgedWithItsFiles(t *testing.T) {
	key := softKey(t, "ours")
	for name, test := range map[string]struct {
		change        func(t *testing.T, dir string)
		strict, loose string
	}{
		"as it was signed": {func(*testing.T, string) {}, "", ""},
		"a changed file": {
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a"), "other") }, `stale: "a" is not as listed`, `stale: "a" is not as listed`,
		},
		"a missing file": {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "a")) }, `stale: "a" is not there`, ""},
		"no file": {
			func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "a")); remove(t, filepath.Join(dir, "b")) },
			`stale: "a", "b" are not there`, "stale: none of the files",
		},
		"a folder in its place": {
			func(t *testing.T, dir string) {
				remove(t, filepath.Join(dir, "a"))
				if err := os.Mkdir(filepath.Join(dir, "a"), 0o755); err != nil {
					t.Fatal(err)
				}
			}, "not a regular file", "not a regular file",
		},
		"another list": {
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "SHA256SUMS"), "# nothing\n") }, "gpgv", "gpgv",
		},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "a"), "a")
		write(t, filepath.Join(dir, "b"), "b")
		list := filepath.Join(dir, "SHA256SUMS")
		write(t, list, fmt.Sprintf("%x  a\n%x  b\n", sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b"))))
		wantStatus(t, (&Batch{Hands: []*Hand{hand(key)}}).Run(deadline(t), plan(t, "", list)), Signed)
		test.change(t, dir)
		verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ()}
		t.Log(name)
		wantText(t, verifier.Verify(deadline(t), Plain, list, dir), test.strict)
		verifier.Lists.IgnoreMissing = true
		wantText(t, verifier.Verify(deadline(t), Plain, list, dir), test.loose)
	}
}

// TestListWithCMSSignature is held against its files like any other.
func TestListWithCMSSignature(t *testing.T) {
	need(t, "openssl")
	s := startService(t)
	signer := s.signer(t, "rsa-2048")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "a")
	list := filepath.Join(dir, "SHA256SUMS")
	write(t, list, fmt.Sprintf("%x  a\n", sha256.Sum256(nil)))
	verifier := &Verifier{Roots: s.RootFile(), Chain: signer.X509.Chain, Environ: os.Environ()}
	batch := &Batch{Hands: []*Hand{{Signer: signer, Verifier: verifier}}}
	results := batch.Run(deadline(t), []Job{{File: list, Kind: CMS}})
	wantStatus(t, results, Failed)
	wantText(t, results[0].Err, "--update-checksums")
	signer.Lists.Update = true
	wantStatus(t, batch.Run(deadline(t), []Job{{File: list, Kind: CMS}}), Signed)
	wantText(t, verifier.Verify(deadline(t), CMS, list, dir), "")
	write(t, filepath.Join(dir, "a"), "b")
	wantText(t, verifier.Verify(deadline(t), CMS, list, dir), `stale: "a"`)
}

// TestListOutsideItsFolder says nothing that can be compared; it is signed where that is allowed.
func TestListOutsideItsFolder(t *testing.T) {
	key := softKey(t, "ours")
	list := textFile(t, "SHA256SUMS", fmt.Sprintf("%x  /build/a\n%x  ../b\n", sha256.Sum256(nil), sha256.Sum256(nil)))
	batch := &Batch{Hands: []*Hand{hand(key)}}
	results := batch.Run(deadline(t), plan(t, "", list))
	wantStatus(t, results, Failed)
	wantText(t, results[0].Err, `stale: "/build/a", "../b" are outside the folder of the list; --ignore-missing`)
	batch.Hands[0].Signer.Lists.IgnoreMissing = true
	wantStatus(t, batch.Run(deadline(t), plan(t, "", list)), Signed)
}

// TestOrderOfJobs: what changes files, what does not, lists, and lists of lists.
func TestOrderOfJobs(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, lists ...string) string {
		text := "content\n"
		if lists != nil {
			text = ""
		}
		for _, listed := range lists {
			text += fmt.Sprintf("%x  %s\n", sha256.Sum256(nil), listed)
		}
		write(t, filepath.Join(dir, name), text)
		return filepath.Join(dir, name)
	}
	write(t, filepath.Join(dir, "a.rpm"), "\xed\xab\xee\xdb\x03")
	for name, test := range map[string]struct {
		files []string
		want  string
	}{
		"a list of all":       {[]string{file("SHA256SUMS", "a.tar", "a.rpm", "a.tar.asc"), file("a.tar"), filepath.Join(dir, "a.rpm")}, "[[2] [1] [0]]"},
		"a list of lists":     {[]string{file("checksums.txt", "b.sha256", "b.sha256.asc"), file("b.sha256", "a.tar")}, "[[] [] [1] [0]]"},
		"lists of each other": {[]string{file("c.sha256", "d.sha256"), file("d.sha256", "c.sha256")}, "[[] [] [1] [0]]"},
		"no lists":            {[]string{file("e.tar"), filepath.Join(dir, "a.rpm")}, "[[1] [0]]"},
	} {
		if got := fmt.Sprint(arrange(plan(t, "", test.files...)).stages); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func wantText(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("the error is %v, want %q", err, want)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
