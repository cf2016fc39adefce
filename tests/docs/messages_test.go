// Package docs keeps the documentation true.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// foreign are messages that programs show as they come from Go's standard library.
var foreign = []string{"certificate signed by unknown authority"}

// TestMessagesAreThoseOfThePrograms: what troubleshooting.md lists as said by signkit is in its sources.
func TestMessagesAreThoseOfThePrograms(t *testing.T) {
	page, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, own, found := strings.Cut(string(page), "## From signkit\n")
	own, _, found2 := strings.Cut(own, "\n## ")
	if !found || !found2 {
		t.Fatal("troubleshooting.md has no section \"From signkit\"")
	}
	known := sources(t) + strings.Join(foreign, "\n")
	rows := 0
	for line := range strings.Lines(own) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || !strings.Contains(cells[1], "`") {
			continue
		}
		rows++
		for _, message := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			for part := range strings.SplitSeq(message[1], "…") {
				if !strings.Contains(known, strings.TrimSpace(part)) {
					t.Errorf("no program says %q", part)
				}
			}
		}
	}
	if rows < 10 {
		t.Errorf("%d rows found", rows)
	}
}

// sources is all Go and C code that ends up in programs.
func sources(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, folder := range []string{"cmd", "gpgagent", "internal", "pkcs11"} {
		err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, entry fs.DirEntry, err error) error {
			name := entry.Name()
			if err != nil || entry.IsDir() || strings.HasSuffix(name, "_test.go") || !strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, ".c") {
				return err
			}
			data, err := os.ReadFile(path)
			text.Write(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}
