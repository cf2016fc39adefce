package artifact

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// debianUpload makes an upload with a binary package, as dpkg-buildpackage leaves it, and returns its folder and its .changes.
func debianUpload(t *testing.T) (dir, changes string) {
	t.Helper()
	need(t, "dpkg-deb")
	dir = t.TempDir()
	if err := copyFile(deadline(t), debPackage(t), filepath.Join(dir, "demo_1_all.deb")); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) { write(t, filepath.Join(dir, name), text) }
	put("demo_1.tar.xz", "sources\n")
	put("demo_1.dsc", "Format: 3.0 (native)\nSource: demo\nBinary: demo\nArchitecture: all\nVersion: 1\nMaintainer: Demo <demo@example.com>\n"+
		checksumFields(t, dir, " ", "demo_1.tar.xz"))
	put("demo_1_all.buildinfo", "Format: 1.0\nSource: demo\nBinary: demo\nArchitecture: all source\nVersion: 1\n"+
		strings.Replace(checksumFields(t, dir, " ", "demo_1.dsc", "demo_1_all.deb"), "Files:", "Checksums-Md5:", 1)+
		"Installed-Build-Depends:\n dpkg (= 1)\n")
	put("demo_1_all.changes", "Format: 1.8\nDate: Tue, 01 Dec 2026 00:00:00 +0000\nSource: demo\nBinary: demo\nArchitecture: source all\nVersion: 1\n"+
		"Distribution: unstable\nMaintainer: Demo <demo@example.com>\nDescription:\n demo       - demo\nChanges:\n demo (1) unstable; urgency=low\n .\n   * First.\n"+
		checksumFields(t, dir, " misc optional ", "demo_1.dsc", "demo_1.tar.xz", "demo_1_all.buildinfo", "demo_1_all.deb"))
	return dir, filepath.Join(dir, "demo_1_all.changes")
}

// checksumFields are the three fields with digests; between is what stands before a name in Files.
func checksumFields(t *testing.T, dir, between string, names ...string) string {
	t.Helper()
	var sha1s, sha256s, files strings.Builder
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&sha1s, " %x %d %s\n", sha1.Sum(data), len(data), name)
		fmt.Fprintf(&sha256s, " %x %d %s\n", sha256.Sum256(data), len(data), name)
		fmt.Fprintf(&files, " %x %d%s%s\n", md5.Sum(data), len(data), between, name)
	}
	return "Checksums-Sha1:\n" + sha1s.String() + "Checksums-Sha256:\n" + sha256s.String() + "Files:\n" + files.String()
}

// TestUploadIsSignedFromTheInsideOut: whoever names the .changes and a package gets the .dsc and the .buildinfo signed, too, and
// each file says what those that it lists are now.
func TestUploadIsSignedFromTheInsideOut(t *testing.T) {
	need(t, "debsig-verify")
	key := softKey(t, "ours")
	verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ()}
	for _, folder := range []string{"", t.TempDir()} {
		dir, changes := debianUpload(t)
		unsigned := tree(t, dir)
		jobs := plan(t, folder, changes, filepath.Join(dir, "demo_1_all.deb"))
		var order []string
		for _, job := range jobs {
			order = append(order, filepath.Ext(job.File))
		}
		if want := []string{".dsc", ".buildinfo", ".changes", ".deb"}; !slices.Equal(order, want) {
			t.Fatalf("the jobs are %v, want %v", order, want)
		}
		batch := &Batch{Hands: []*Hand{hand(key), hand(key)}, Folder: folder}
		wantStatus(t, batch.Run(deadline(t), jobs), Signed, Signed, Signed, Signed)
		signed := dir
		if folder != "" {
			if fmt.Sprint(tree(t, dir)) != fmt.Sprint(unsigned) {
				t.Error("with a folder for results the files changed")
			}
			signed = folder
			if err := copyFile(deadline(t), filepath.Join(dir, "demo_1.tar.xz"), filepath.Join(folder, "demo_1.tar.xz")); err != nil {
				t.Fatal(err)
			}
		}
		for _, job := range jobs {
			if err := verifier.Verify(deadline(t), job.Kind, filepath.Join(signed, filepath.Base(job.File)), signed); err != nil {
				t.Errorf("%s: %v", filepath.Base(job.File), err)
			}
		}
		if folder != "" {
			continue
		}
		before := tree(t, dir)
		wantStatus(t, batch.Run(deadline(t), jobs), Skipped, Skipped, Skipped, Skipped)
		if fmt.Sprint(tree(t, dir)) != fmt.Sprint(before) {
			t.Error("skipping changed files")
		}
	}
}

// TestDscverifyJudgesUploadsAlike: Debian's own tool takes what is signed, and refuses what we refuse.
func TestDscverifyJudgesUploadsAlike(t *testing.T) {
	need(t, "dscverify", "debsig-verify")
	key, other := softKey(t, "ours"), softKey(t, "other")
	ring := func(key *OpenPGP) string {
		path := filepath.Join(t.TempDir(), "ring.gpg")
		shell(t, "", "gpg", "--batch", "--dearmor", "--output", path, key.PublicKey)
		return path
	}
	rings := map[*OpenPGP]string{key: ring(key), other: ring(other)}
	for name, test := range map[string]struct {
		sign, named *OpenPGP
		change      func(t *testing.T, dir string)
		want        bool
	}{
		"as it was signed":  {key, key, nil, true},
		"not signed":        {nil, key, nil, false},
		"another key":       {key, other, nil, false},
		"a changed archive": {key, key, func(t *testing.T, dir string) { write(t, filepath.Join(dir, "demo_1.tar.xz"), "another\n") }, false},
		"a changed .dsc":    {key, key, func(t *testing.T, dir string) { tamper(t, filepath.Join(dir, "demo_1.dsc")) }, false},
		"a changed text": {key, key, func(t *testing.T, dir string) {
			shell(t, dir, "sed", "-i", "s/^Distribution: unstable/Distribution: stable/", "demo_1_all.changes")
		}, false},
	} {
		dir, changes := debianUpload(t)
		if test.sign != nil {
			jobs := plan(t, "", filepath.Join(dir, "demo_1_all.deb"), changes)
			wantStatus(t, (&Batch{Hands: []*Hand{hand(test.sign)}}).Run(deadline(t), jobs), Signed, Signed, Signed, Signed)
		}
		if test.change != nil {
			test.change(t, dir)
		}
		command := exec.CommandContext(deadline(t), "dscverify", "--no-conf", "--no-default-keyrings", "--keyring", rings[test.named], changes)
		command.Env = append(os.Environ(), "GNUPGHOME="+t.TempDir())
		output, theirs := command.CombinedOutput()
		if test.want && strings.Contains(string(output), "skipping") {
			t.Errorf("%s: dscverify has not seen all files:\n%s", name, output)
		}
		verifier := &Verifier{PublicKey: test.named.PublicKey, Environ: os.Environ()}
		ours := verifier.Verify(deadline(t), DebianUpload, changes, dir)
		if (theirs == nil) != test.want || (ours == nil) != test.want {
			t.Errorf("%s: dscverify: %v; Verify = %v\n%s", name, theirs, ours, output)
		}
	}
}

// TestSignedControlFile has the text that was there, an empty line and the signature.
func TestSignedControlFile(t *testing.T) {
	key := softKey(t, "ours")
	dir, _ := debianUpload(t)
	dsc := filepath.Join(dir, "demo_1.dsc")
	before, err := os.ReadFile(dsc)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dsc, 0o640); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, (&Batch{Hands: []*Hand{hand(key)}}).Run(deadline(t), plan(t, "", dsc)), Signed)
	after, err := os.ReadFile(dsc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(after), "\n\n")
	if head != "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512" || !strings.HasPrefix(rest, string(before)+"\n-----BEGIN PGP SIGNATURE-----\n") {
		t.Errorf("the signed file is\n%s", after)
	}
	if info, err := os.Stat(dsc); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode is %v (%v)", info.Mode(), err)
	}
}

// TestUploadOfOtherThanItsFiles is refused before it is signed, and found stale afterwards.
func TestUploadOfOtherThanItsFiles(t *testing.T) {
	key := softKey(t, "ours")
	for name, test := range map[string]struct {
		change func(t *testing.T, dir string)
		lists  Lists
		want   string // of signing; empty: it is signed
		stale  string // of verifying what was signed before the change
	}{
		"a changed archive": {
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "demo_1.tar.xz"), "other\n") }, Lists{},
			`stale: "demo_1.tar.xz" is not as listed; --update-checksums`, `stale: "demo_1.tar.xz" is not as listed`,
		},
		"a changed archive, to be brought up to date": {
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "demo_1.tar.xz"), "longer than before\n") }, Lists{Update: true},
			"", `stale: "demo_1.tar.xz" is not as listed`,
		},
		"no package": {
			func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "demo_1_all.deb")) }, Lists{},
			`stale: "demo_1_all.deb" is not there; --ignore-missing`, `stale: "demo_1_all.deb" is not there`,
		},
		"no package, which may be": {
			func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "demo_1_all.deb")) }, Lists{IgnoreMissing: true}, "", "",
		},
		"no .dsc, which must be": {
			func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "demo_1.dsc")) }, Lists{IgnoreMissing: true},
			`stale: "demo_1.dsc" is not there`, `stale: "demo_1.dsc" is not there`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, changes := debianUpload(t)
			signedDir, signed := debianUpload(t)
			batch := &Batch{Hands: []*Hand{hand(key)}}
			wantStatus(t, batch.Run(deadline(t), plan(t, "", signed)), Signed, Signed, Signed)
			test.change(t, signedDir)
			verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ(), Lists: test.lists}
			wantText(t, verifier.Verify(deadline(t), DebianUpload, signed, signedDir), test.stale)

			test.change(t, dir)
			batch.Hands[0].Signer.Lists, batch.Hands[0].Verifier.Lists = test.lists, test.lists
			before := tree(t, dir)["demo_1_all.changes"]
			results := batch.Run(deadline(t), plan(t, "", changes))
			last := results[len(results)-1]
			if filepath.Ext(last.File) != ".changes" {
				t.Fatalf("the last job is %s", last.File)
			}
			switch {
			case test.want == "":
				wantText(t, verifier.Verify(deadline(t), DebianUpload, changes, dir), "")
			case tree(t, dir)["demo_1_all.changes"] != before:
				t.Error("what is not signed has changed")
			case len(results) == 3 && name != "no package":
				// The .dsc lists that archive, too, and comes first.
				wantText(t, results[0].Err, test.want)
				wantText(t, last.Err, "not signed, since demo_1.dsc, which it lists, is not")
			case len(results) == 3:
				wantText(t, results[1].Err, test.want)
				wantText(t, last.Err, "not signed, since demo_1_all.buildinfo, which it lists, is not")
			default:
				wantText(t, results[0].Err, test.want)
			}
		})
	}
}

// TestControlFilesThatListEachOther are planned once, and refused, since no digest of theirs can be true.
func TestControlFilesThatListEachOther(t *testing.T) {
	dir := t.TempDir()
	for name, other := range map[string]string{"a.dsc": "b.dsc", "b.dsc": "a.dsc"} {
		write(t, filepath.Join(dir, name), fmt.Sprintf("Format: 1.0\nSource: demo\nFiles:\n %x 0 %s\n", md5.Sum(nil), other))
	}
	jobs := plan(t, "", filepath.Join(dir, "a.dsc"), filepath.Join(dir, "b.dsc"))
	if len(jobs) != 2 {
		t.Fatalf("jobs %v", jobs)
	}
	wantStatus(t, (&Batch{Hands: []*Hand{hand(softKey(t, "ours"))}}).Run(deadline(t), jobs), Failed, Failed)
}

// TestListOfFilesInFolders: with a folder for results a list gets the digest of what this call has made, wherever the original is.
func TestListOfFilesInFolders(t *testing.T) {
	key := softKey(t, "ours")
	pool, _ := debianUpload(t)
	dir, folder := filepath.Dir(pool), t.TempDir()
	name := filepath.Join(filepath.Base(pool), "demo_1.dsc")
	list := filepath.Join(dir, "SHA256SUMS")
	write(t, list, fmt.Sprintf("%x  %s\n", sha256.Sum256(nil), name))
	batch := &Batch{Hands: []*Hand{hand(key)}, Folder: folder}
	batch.Hands[0].Signer.Lists.Update = true
	results := batch.Run(deadline(t), plan(t, folder, list, filepath.Join(dir, name)))
	wantStatus(t, results, Signed, Signed)
	got, err := os.ReadFile(filepath.Join(folder, "SHA256SUMS"))
	if want := results[1].SHA256 + "  " + name + "\n"; string(got) != want || err != nil {
		t.Errorf("the list says %q (%v), want %q", got, err, want)
	}
}

// TestUploadSignedByAnother keeps that signature unless it is asked not to.
func TestUploadSignedByAnother(t *testing.T) {
	key, other := softKey(t, "ours"), softKey(t, "other")
	dir, _ := debianUpload(t)
	dsc := filepath.Join(dir, "demo_1.dsc")
	wantStatus(t, (&Batch{Hands: []*Hand{hand(other)}}).Run(deadline(t), plan(t, "", dsc)), Signed)
	before := tree(t, dir)
	batch := &Batch{Hands: []*Hand{hand(key)}}
	results := batch.Run(deadline(t), plan(t, "", dsc))
	wantStatus(t, results, Failed)
	wantText(t, results[0].Err, "signed by the key "+other.Fingerprint+" already, and a control file of Debian holds one signature; --existing replace")
	if fmt.Sprint(tree(t, dir)) != fmt.Sprint(before) {
		t.Error("what is not signed has changed")
	}
	batch.Existing = ReplaceExisting
	wantStatus(t, batch.Run(deadline(t), plan(t, "", dsc)), Signed)
	if data, err := os.ReadFile(dsc); err != nil || strings.Count(string(data), "BEGIN PGP SIGNED") != 1 {
		t.Errorf("the replaced signature is still there (%v):\n%s", err, data)
	}
	err := (&Verifier{Environ: os.Environ()}).Verify(deadline(t), DebianUpload, dsc, dir)
	if signer, ok := errors.AsType[*NotComparedError](err); !ok || signer.Signers != "the key "+key.Fingerprint {
		t.Errorf("signed by %v", err)
	}
}

// TestControlFilesAreReadStrictly: of what two readers could take for two things nothing is signed.
func TestControlFilesAreReadStrictly(t *testing.T) {
	const line = " d41d8cd98f00b204e9800998ecf8427e 0 "
	head := "Format: 1.8\nSource: demo\n"
	for text, want := range map[string]string{
		head + "Files:\n" + line + "misc optional a.deb\n":                      "",
		head + "Files:\n" + line + "a.tar\n\n\n":                                "",
		head + "Files:\n" + line + "a.tar\n\nFiles:\n" + line + "b.tar\n":       "more than one paragraph",
		head + "Files:\n" + line + "a.tar\nfiles:\n" + line + "b.tar\n":         "there twice",
		head + "Files:\n" + line + "a.tar\n" + line + "a.tar\n":                 "lists a file twice",
		head + "Files:\n" + line + "../a.tar\n":                                 "lists no file",
		head + "Files:\n d41d 0 a.tar\n":                                        "lists no file",
		head + "Files:\n" + line + "a.tar\nChecksums-Blake:\n 00 0 a.tar\n":     "not known",
		head + "Files:\n" + line + "a.tar\nChecksums-Md5:\n" + line + "b.tar\n": "same files",
		head: "lists no file",
		"Format: 2.0\nSource: demo\nFiles:\n" + line + "a.tar\n": "format",
		" x\n" + head: "no field",
		"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n" + head + "Files:\n" + line + "a.tar\n": "damaged",
		head + "Files:\n" + line + "a.tar\n-----BEGIN PGP SIGNATURE-----\n":                           "does not begin",
	} {
		file := textFile(t, "demo.changes", text)
		_, err := readUpload(file)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
