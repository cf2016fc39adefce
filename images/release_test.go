package images

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What can be said of releases whose images cannot be built everywhere.

// published reads testdata/published.txt: the packages of each release.
func published(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("testdata/published.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		head, list, found := strings.Cut(line, ":")
		release, _, named := strings.Cut(head, " ")
		if !found || !named {
			t.Fatalf("no list of packages: %q", line)
		}
		names[release] = append(names[release], strings.Fields(strings.TrimSuffix(strings.TrimSpace(list), "?"))...)
	}
	return names
}

// TestPackagesArePublished: an image that nobody could build yet names no package that its release does not have.
func TestPackagesArePublished(t *testing.T) {
	names := published(t)
	for _, i := range all(t) {
		if i.Family == "debian" {
			continue // apt says so
		}
		for _, v := range Variants {
			for name := range strings.FieldsSeq(i.Packages[v]) {
				if !slices.Contains(names[i.Name], name) {
					t.Errorf("%s, %s: the release publishes no %s", i.Name, v, name)
				}
			}
		}
	}
}

// TestOpenSSLOfEveryReleaseIsTriedOnDebian: in the same way, with the same series of OpenSSL.
func TestOpenSSLOfEveryReleaseIsTriedOnDebian(t *testing.T) {
	for _, i := range all(t) {
		for _, way := range i.OpenSSL {
			tried := slices.ContainsFunc(all(t), func(d Image) bool {
				return d.Family == "debian" && d.Versions["openssl"] == i.Versions["openssl"] && slices.Contains(d.OpenSSL, way)
			})
			if !tried {
				t.Errorf("%s: no image of Debian has the %s of OpenSSL %s", i.Name, way, i.Versions["openssl"])
			}
		}
	}
}

// TestDialogueOfEveryGnuPG: gpgagent/card replays what gpg-agent of the same series says.
func TestDialogueOfEveryGnuPG(t *testing.T) {
	for _, i := range all(t) {
		series := i.Versions["gnupg"][:strings.LastIndexByte(i.Versions["gnupg"], '.')]
		recorded, err := filepath.Glob("../gpgagent/card/testdata/gnupg-" + series + ".*/*.txt")
		if err != nil || len(recorded) == 0 {
			t.Errorf("%s: no dialogue of GnuPG %s.x is recorded (%v)", i.Name, series, err)
		}
	}
}
