package artifact

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDetectRecognisesContentBeforeNames(t *testing.T) {
	jar := archive(t, "META-INF/MANIFEST.MF")
	zipped := archive(t, "readme.txt")
	pe := append([]byte("MZ"), make([]byte, 0x100)...)
	pe[0x3c] = 0x80
	copy(pe[0x80:], "PE\x00\x00")
	tests := []struct {
		name    string
		content string
		want    Kind
	}{
		{"a.rpm", "\xed\xab\xee\xdb\x03", RPM},
		{"renamed.bin", "\xed\xab\xee\xdb\x03", RPM},
		{"text.rpm", "not a package", Plain},
		{"a.deb", "!<arch>\ndebian-binary   123", Deb},
		{"lib.a", "!<arch>\n/               0", Plain},
		{"a.jar", jar, Jar},
		{"plugin.zip", jar, Jar},
		{"source.zip", zipped, Plain},
		{"bare.war", zipped, Jar},
		{"broken.zip", "PK\x03\x04 and no more", Plain},
		{"setup.exe", string(pe), Authenticode},
		{"lib.dll", string(pe), Authenticode},
		{"dos.com", "MZ and no more", Plain},
		{"cabinet.bin", "MSCF\x00", Authenticode},
		{"setup.msi", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Authenticode},
		{"old.doc", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Plain},
		{"install.PS1", "Write-Host hello", Authenticode},
		{"Release", "Origin: demo\nSuite: stable\n", AptRelease},
		{"Release", "what is new in this release", Plain},
		{"repomd.xml", `<?xml version="1.0"?><repomd xmlns="x"/>`, YumIndex},
		{"repomd.xml", "<other/>", Plain},
		{"app.tar.gz", "\x1f\x8b\x08", Plain},
	}
	for _, test := range tests {
		path := filepath.Join(t.TempDir(), test.name)
		write(t, path, test.content)
		if got, err := Detect(path); got != test.want || err != nil {
			t.Errorf("Detect(%s: %.20q) = %q, %v; want %q", test.name, test.content, got, err, test.want)
		}
	}
}

func TestDetectRefusesWhatNobodyMeansToSign(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty"), "")
	for _, name := range []string{"a.asc", "a.tar.gz.SIG", "InRelease", "Release.gpg", "leaf.pem"} {
		write(t, filepath.Join(dir, name), "x")
	}
	write(t, filepath.Join(dir, "Release"), "Archive: stable\nComponent: main\nOrigin: demo\nArchitecture: amd64\n")
	for name, want := range map[string]string{
		"Release": "is the Release of a component", "": "is a folder", "empty": "is empty", "missing": "no such file", "a.asc": "signature", "a.tar.gz.SIG": "signature",
		"InRelease": "signature", "Release.gpg": "signature", "leaf.pem": "certificate",
	} {
		if kind, err := Detect(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Detect(%q) = %q, %v; want an error with %q", name, kind, err, want)
		}
	}
}

func archive(t *testing.T, entry string) string {
	t.Helper()
	var buffer bytes.Buffer
	w := zip.NewWriter(&buffer)
	f, err := w.Create(entry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("Manifest-Version: 1.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.String()
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestEveryFormatSaysWhatPeopleNeedToKnow: a row without facts would leave holes in documentation, help and plans.
func TestEveryFormatSaysWhatPeopleNeedToKnow(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Formats() {
		for what, text := range map[string]string{
			"files": f.Files, "tool": f.Tool, "judge": f.Judge, "versions": f.Versions, "keys": f.Keys, "several": f.Several, "place": f.Place(),
		} {
			if text == "" || strings.HasSuffix(text, ".") || strings.ContainsAny(text, "\n|") {
				t.Errorf("%s: %s is %q", f.Kind, what, text)
			}
		}
		for _, tool := range []string{f.Tool, f.Judge} {
			if packages[tool] == "" {
				t.Errorf("%s: nobody knows which package has %s", f.Kind, tool)
			}
		}
		if seen[f.Files] {
			t.Errorf("%s: another format says of itself, too: %s", f.Kind, f.Files)
		}
		seen[f.Files] = true
	}
}
