package images

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func all(t *testing.T) []Image {
	t.Helper()
	list, err := All()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestEverySampleIsPlacedOrExcusedInEveryImage(t *testing.T) {
	scripts, err := os.ReadDir("../samples")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all(t) {
		for _, folder := range scripts {
			if _, err := os.Stat("../samples/" + folder.Name() + "/sign.sh"); err != nil {
				continue
			}
			_, runs := i.Variant(folder.Name())
			if why := i.Without[folder.Name()]; runs == (why != "") {
				t.Errorf("%s: sample %s must be either in scenarios or, with a reason, in without", i.Name, folder.Name())
			}
		}
	}
}

// A system-wide gpg-agent.conf would start the bridge, with the token, behind every GNUPGHOME that some tool makes.
func TestNoImageConfiguresEveryGPGAgent(t *testing.T) {
	dockerfiles, err := filepath.Glob("*/Dockerfile")
	if err != nil || len(dockerfiles) == 0 {
		t.Fatalf("%d Dockerfiles, %v", len(dockerfiles), err)
	}
	for _, file := range dockerfiles {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "/etc/gnupg") {
			t.Errorf("%s writes to /etc/gnupg", file)
		}
	}
}

func TestEntriesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, i := range all(t) {
		if i.Name == "" || i.Base == "" || seen[i.Name] {
			t.Errorf("%q (base %q): the name must be there and unique, the base be there", i.Name, i.Base)
		}
		seen[i.Name] = true
		if len(i.OpenSSL) == 0 {
			t.Errorf("%s: no way into openssl", i.Name)
		}
		for _, program := range []string{"glibc", "gnupg", "openssl", "rpm"} {
			if i.Versions[program] == "" {
				t.Errorf("%s: no version of %s", i.Name, program)
			}
		}
		for _, v := range Variants {
			if i.Packages[v] == "" || i.BudgetMB[v] == 0 {
				t.Errorf("%s: variant %s has no packages or no budget", i.Name, v)
			}
		}
		_, err := os.Stat(i.Family + "/Dockerfile")
		if (err == nil) != (i.NotYet == "") {
			t.Errorf("%s: not_yet is %q, but its Dockerfile: %v", i.Name, i.NotYet, err)
		}
	}
}

// TestDockerfileDefaults: a plain `docker build -f images/debian/Dockerfile .` makes what the matrix calls debian-13.
func TestDockerfileDefaults(t *testing.T) {
	text, err := os.ReadFile("debian/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	list := all(t)
	newest := list[slices.IndexFunc(list, func(i Image) bool { return i.Name == "debian-13" })]
	want := map[string]string{
		"BASE_IMAGE": newest.Base, "PINS": newest.Pins, "CORE": newest.Packages[Core], "FULL": newest.Packages[Full], "JAVA": "",
	}
	for name, value := range want {
		got := regexp.MustCompile(`(?m)^ARG ` + name + `=(.*)$`).FindSubmatch(text)
		if got == nil || strings.Trim(string(got[1]), `"`) != value {
			t.Errorf("ARG %s is %q, want %q", name, got, value)
		}
	}
}

// TestDockerfilesNameTheLicence: also those of images that cannot be built everywhere.
func TestDockerfilesNameTheLicence(t *testing.T) {
	files, err := filepath.Glob("*/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	labelled := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "org.opencontainers.image.title=") {
			continue // made of others, or only for tests
		}
		labelled++
		if !strings.Contains(string(text), `org.opencontainers.image.licenses="Apache-2.0"`) {
			t.Errorf("%s names no licence, or another one", file)
		}
	}
	if labelled < 4 {
		t.Errorf("only %d of %v have labels", labelled, files)
	}
}

func TestTags(t *testing.T) {
	i := Image{Name: "debian-13", Scenarios: map[Variant][]string{Core: {"openssl"}, Java: {"maven"}}}
	if got := []string{i.Tag(Core), i.Tag(Full), i.Tag(Java)}; !slices.Equal(got, []string{"debian-13-core", "debian-13", "debian-13-java"}) {
		t.Errorf("tags %v", got)
	}
	if v, ok := i.Variant("maven"); v != Java || !ok {
		t.Errorf("maven runs in %q, %v", v, ok)
	}
	if _, ok := i.Variant("cosign"); ok {
		t.Error("cosign runs")
	}
}

func TestInstalls(t *testing.T) {
	i := Image{Packages: map[Variant]string{Core: "openssl gpg", Full: "dpkg-sig"}}
	for name, want := range map[string]bool{"dpkg-sig": true, "openssl": true, "dpkg": false, "": false} {
		if i.Installs(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
