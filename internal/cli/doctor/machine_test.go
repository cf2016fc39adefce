package doctor

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestProcessThatDoesNotReapIsNamed: the orphan comes to this test, which leaves it as it is, and then reaps it.
func TestProcessThatDoesNotReapIsNamed(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			t.Error(err)
		}
	}()
	e, found := recorded(Patient{})
	e.reaping(t.Context())
	f := one(t, *found)
	if f.State != Warning || !strings.Contains(f.Text, "does not reap") || !strings.Contains(f.Fix, "--init") {
		t.Errorf("%+v", f)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil || pid <= 0 {
		t.Errorf("there was no orphan: %d, %v", pid, err)
	}
}

func TestTemporaryFolderThatCannotBeWrittenIsAProblem(t *testing.T) {
	for dir, state := range map[string]State{t.TempDir(): OK, t.TempDir() + "/missing": Problem} {
		t.Setenv("TMPDIR", dir)
		e, found := recorded(Patient{})
		e.temporaryFolder(t.Context())
		if f := one(t, *found); f.State != state || (f.Fix == "") != (state == OK) {
			t.Errorf("%s: %+v", dir, f)
		}
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			t.Errorf("%s: %v is left", dir, entries)
		}
	}
}
