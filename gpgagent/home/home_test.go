package home

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCreateMakesAPrivateFolderWhateverTheUmaskIs(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	h, err := Create(shortDir(t))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(h.Dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
	found, err := Find(h.Dir)
	if err != nil || !found.Temporary {
		t.Errorf("not recognised as our own: %+v %v", found, err)
	}
	if err := h.End(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(h.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestPathsThatCannotHoldTheSocketsAreRefused(t *testing.T) {
	root := shortDir(t)
	long := filepath.Join(root, strings.Repeat("x", LongestPath-len(root)-1))
	if _, err := Open(long); err != nil {
		t.Errorf("%d bytes: %v", len(long), err)
	}
	var e *PathError
	if _, err := Open(long + "x"); !errors.As(err, &e) || !strings.Contains(err.Error(), "86 bytes") {
		t.Errorf("%d bytes: %v", len(long)+1, err)
	}
	if _, err := Create(long); !errors.As(err, &e) {
		t.Errorf("below it: %v", err)
	}
	if left, _ := filepath.Glob(long + "/*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for name, dir := range map[string]string{
		"line break": filepath.Join(root, "a\nb"),
		"no parent":  filepath.Join(root, "no", "such"),
		"a file":     os.Args[0],
	} {
		if _, err := Open(dir); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Create(filepath.Join(root, "nowhere")); !errors.As(err, &e) {
		t.Errorf("parent that is not there: %v", err)
	}
}

func TestFoldersOfOthersAreNotRemoved(t *testing.T) {
	h, err := Open(filepath.Join(shortDir(t), "home"))
	if err != nil || h.Temporary {
		t.Fatalf("%+v %v", h, err)
	}
	if err := h.remove(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(h.Dir); err != nil {
		t.Error(err)
	}
}

// shortDir is t.TempDir with a path that leaves room for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
