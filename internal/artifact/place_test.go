package artifact

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPlacedResultInheritsFromTheOriginal, and replaces it in one step.
func TestPlacedResultInheritsFromTheOriginal(t *testing.T) {
	file := textFile(t, "app.bin", "unsigned")
	if err := os.Chmod(file, 0o444); err != nil {
		t.Fatal(err)
	}
	xattrs := unix.Setxattr(file, "user.origin", []byte("build 7"), 0) == nil
	o, err := readOriginal(deadline(t), file)
	if err != nil {
		t.Fatal(err)
	}
	if err := place(deadline(t), []Output{{textFile(t, "result", "signed"), "app.bin"}}, o, openedFolder(t, filepath.Dir(file))); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("the mode is %v (%v), want that of the original", info.Mode(), err)
	}
	if content, err := os.ReadFile(file); string(content) != "signed" || err != nil {
		t.Errorf("the file holds %q (%v)", content, err)
	}
	if !xattrs {
		t.Log("not looked at: extended attributes, which this file system does not take")
	} else {
		value := make([]byte, 100)
		n, err := unix.Getxattr(file, "user.origin", value)
		if err != nil || string(value[:n]) != "build 7" {
			t.Errorf("the attribute is %q (%v)", value[:max(n, 0)], err)
		}
	}
	if got := names(tree(t, filepath.Dir(file))); len(got) != 1 {
		t.Errorf("the folder holds %v", got)
	}
}

// TestFileThatChangedIsNotReplaced: whoever changed it meanwhile would lose that, or get a signature of what was there before.
func TestFileThatChangedIsNotReplaced(t *testing.T) {
	for name, change := range map[string]func(file string) error{
		"content": func(file string) error { return os.WriteFile(file, []byte("changed!"), 0o644) },
		"another file": func(file string) error {
			if err := os.Rename(file, file+".old"); err != nil {
				return err
			}
			defer os.Remove(file + ".old")
			return os.WriteFile(file, []byte("unsigned"), 0o644)
		},
		"removed": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			file := textFile(t, "app.bin", "unsigned")
			o, err := readOriginal(deadline(t), file)
			if err != nil {
				t.Fatal(err)
			}
			if err := change(file); err != nil {
				t.Fatal(err)
			}
			before := tree(t, filepath.Dir(file))
			err = place(deadline(t), []Output{{textFile(t, "result", "signed"), "app.bin"}}, o, openedFolder(t, filepath.Dir(file)))
			if err == nil || name != "removed" && !strings.Contains(err.Error(), "changed while it was being signed") {
				t.Errorf("place = %v", err)
			}
			after := tree(t, filepath.Dir(file))
			if len(after) != len(before) || after["app.bin"] != before["app.bin"] {
				t.Errorf("the folder holds %v, want %v", after, before)
			}
		})
	}
}

func openedFolder(t *testing.T, path string) *folder {
	t.Helper()
	into, err := openFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { into.Close() })
	return into
}

// TestFolderThatIsSwappedMeansNothingElse: somebody who may rename a folder may not have what lies elsewhere replaced.
func TestFolderThatIsSwappedMeansNothingElse(t *testing.T) {
	need(t, "dpkg-deb", "debsig-verify")
	key := softKey(t, "ours")
	gpg, err := exec.LookPath("gpg")
	if err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("PATH")
	for name, swap := range map[string]string{"a link": "ln -s victim dist", "another folder": "mv victim dist", "nothing": ":"} {
		for _, separate := range []bool{false, true} { // results in a folder of their own
			t.Run(fmt.Sprintf("%s, separate %v", name, separate), func(t *testing.T) {
				deb, base, bin := debPackage(t), t.TempDir(), t.TempDir()
				dir, victim := filepath.Join(base, "dist"), filepath.Join(base, "victim")
				for _, folder := range []string{dir, victim} {
					if err := os.Mkdir(folder, 0o755); err != nil {
						t.Fatal(err)
					}
				}
				file, out := deb, dir
				if !separate {
					file, out = filepath.Join(dir, filepath.Base(deb)), ""
					if err := copyFile(deadline(t), deb, file); err != nil {
						t.Fatal(err)
					}
				}
				write(t, filepath.Join(victim, filepath.Base(file)), "precious")
				swapped := filepath.Join(bin, "swapped")
				write(t, filepath.Join(bin, "gpg"), fmt.Sprintf("#!/bin/sh\n[ -e %s ] || { >%s; cd %s; mv dist away; %s; }\nexec %s \"$@\"\n", swapped, swapped, base, swap, gpg))
				if err := os.Chmod(filepath.Join(bin, "gpg"), 0o755); err != nil {
					t.Fatal(err)
				}
				t.Setenv("PATH", bin+":"+path)
				result := (&Batch{Folder: out, Hands: []*Hand{hand(key)}}).Run(deadline(t), []Job{{file, Deb}})[0]
				if _, err := os.Stat(swapped); err != nil || result.Err == nil {
					t.Errorf("swapped: %v; signing: %v", err, result.Err)
				}
				for _, folder := range []string{dir, victim} {
					if content, err := os.ReadFile(filepath.Join(folder, filepath.Base(file))); err == nil && string(content) != "precious" {
						t.Errorf("the file in %s is another one", folder)
					}
				}
				left, err := filepath.Glob(filepath.Join(base, "*", ".signkit-*"))
				if err != nil || len(left) > 0 {
					t.Errorf("left: %v, %v", left, err)
				}
			})
		}
	}
}

// TestFolderOfResultsHoldsThisFile: what an earlier build has left there says nothing about this one.
func TestFolderOfResultsHoldsThisFile(t *testing.T) {
	need(t, "dpkg-deb", "debsig-verify")
	key, out := softKey(t, "ours"), t.TempDir()
	run := func(deb string, want Status) {
		t.Helper()
		results := (&Batch{Hands: []*Hand{hand(key)}, Folder: out}).Run(deadline(t), plan(t, out, deb))
		wantStatus(t, results, want)
	}
	content := func(path string) string {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	first, second := debPackage(t, "-Zgzip"), debPackage(t, "-Zxz")
	result := filepath.Join(out, filepath.Base(first))
	run(first, Signed)
	old := content(result)
	run(second, Signed)
	if now := content(result); now == old || !strings.HasPrefix(now, content(second)) {
		t.Error("the folder holds the old build")
	}
	// What is signed already is put there as it is.
	signed := filepath.Join(t.TempDir(), filepath.Base(first))
	write(t, signed, old)
	run(signed, Skipped)
	if content(result) != old {
		t.Error("the folder does not hold the file that was signed already")
	}
}

// TestNamesAndModesThatToolsStumbleOver: a read-only package below a folder with blanks and quotes.
func TestNamesAndModesThatToolsStumbleOver(t *testing.T) {
	need(t, "rpmsign", "rpmkeys", "rpmbuild", "dpkg-deb", "debsig-verify")
	key := softKey(t, "ours")
	dir := filepath.Join(t.TempDir(), `My "Job" 'x'`)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, file := range []string{rpmPackage(t), debPackage(t)} {
		to := filepath.Join(dir, "a b"+filepath.Ext(file))
		if err := copyFile(deadline(t), file, to); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(to, 0o444); err != nil {
			t.Fatal(err)
		}
		files = append(files, to)
	}
	if err := os.Link(files[1], files[1]+".link"); err != nil {
		t.Fatal(err)
	}
	results := (&Batch{Hands: []*Hand{hand(key)}}).Run(deadline(t), plan(t, "", files...))
	wantStatus(t, results, Signed, Signed)
	for i, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o444 {
			t.Errorf("%s: mode %v (%v)", file, info.Mode(), err)
		}
		if noted := strings.Contains(strings.Join(results[i].Notes, "\n"), "had 2 names"); noted != (i == 1) {
			t.Errorf("%s: notes %q", file, results[i].Notes)
		}
	}
}
