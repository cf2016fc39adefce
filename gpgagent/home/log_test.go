package home

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLastErrorsComeFromBothFoldersInTheOrderOfTheirTime(t *testing.T) {
	h, err := Open(filepath.Join(shortDir(t), "home"))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const name = "SignPath.CryptoProviders.Scdaemon.txt"
	write(h.file(name), strings.Repeat("x\n", logTail)+
		"2026-01-01T10:00:00.000Z error 7 one\n2026-01-01T10:00:01.000Z warning 7 slow\n2026-01-01T10:00:03.000Z fatal 7 three\n")
	write(filepath.Join(folder, name), "2026-01-01T10:00:02.000Z error 8 two\nerror is no record\n")
	write(h.file("other.txt"), "2026-01-01T10:00:02.000Z error 8 not ours\n")
	got, err := h.LastErrors(folder, 10)
	want := []string{"2026-01-01T10:00:00.000Z error 7 one", "2026-01-01T10:00:02.000Z error 8 two", "2026-01-01T10:00:03.000Z fatal 7 three"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q %v", got, err)
	}
	if got, _ := h.LastErrors("", 1); !slices.Equal(got, want[2:]) {
		t.Errorf("the last one: %q", got)
	}
	if got, err := h.LastErrors(filepath.Join(folder, "nowhere"), 0); len(got) > 0 || err != nil {
		t.Errorf("%q %v", got, err)
	}
}
