package artifact

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestSignaturesAreTakenOutBesideACompressedFolder: jarsigner writes META-INF/ so.
func TestSignaturesAreTakenOutBesideACompressedFolder(t *testing.T) {
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for _, name := range []string{"META-INF#", "META-INF/SIGNKIT.SF", "a"} {
		if _, err := w.Create(name); err != nil { // compressed, and so two bytes of no content
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a.jar")
	if err := os.WriteFile(file, bytes.ReplaceAll(archive.Bytes(), []byte("META-INF#"), []byte("META-INF/")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeJarSignatures(file); err != nil {
		t.Fatal(err)
	}
	left, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	var names []string
	for _, entry := range left.File {
		names = append(names, entry.Name)
	}
	if want := []string{"META-INF/", "a"}; !slices.Equal(names, want) {
		t.Errorf("left are %q, want %q", names, want)
	}
}
