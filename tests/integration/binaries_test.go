package integration

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"signkit/images"
)

// binaries are the files of build/ that go into images, and where they lie there. Each is the same file in every image.
var binaries = map[string]string{
	"libsignkit-pkcs11.so": "/usr/lib/signkit/libsignkit-pkcs11.so",
	"signkit-tokend":       "/usr/lib/signkit/signkit-tokend",
	"signkit-scdaemon":     "/usr/lib/signkit/signkit-scdaemon",
	"notation-signkit":     "/usr/lib/signkit/notation-signkit",
	"signkit":              "/usr/bin/signkit",
	"signkit-mockapi":      "", // an image of its own
}

// dynamic are those that use the C library: a module for other programs, and programs that load such modules. All others
// are static.
var dynamic = []string{"libsignkit-pkcs11.so", "signkit-scdaemon", "signkit"}

// TestBinaries reads the built files: which libraries they need, and that none of their symbols is newer than glibc 2.17, so
// that they run on every release of images/matrix.json.
func TestBinaries(t *testing.T) {
	for name := range binaries {
		t.Run(name, func(t *testing.T) {
			file, err := elf.Open(filepath.Join(root, "build", name))
			if err != nil {
				t.Fatalf("%v (make build)", err)
			}
			defer file.Close()
			if !slices.Contains(dynamic, name) {
				checkStatic(t, file)
				return
			}
			checkLibraries(t, file)
			checkSymbols(t, file)
		})
	}
}

func checkStatic(t *testing.T, file *elf.File) {
	libraries, err := file.ImportedLibraries()
	if err != nil || len(libraries) != 0 {
		t.Errorf("needs %v (%v), want none", libraries, err)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("has a program interpreter: is not static")
		}
	}
}

func checkLibraries(t *testing.T, file *elf.File) {
	libraries, err := file.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, library := range libraries {
		if !slices.Contains([]string{"libc.so.6", "libpthread.so.0", "libdl.so.2"}, library) {
			t.Errorf("needs %s", library)
		}
	}
}

func checkSymbols(t *testing.T, file *elf.File) {
	symbols, err := file.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	if len(symbols) == 0 {
		t.Error("imports nothing: this cannot be the file")
	}
	for _, s := range symbols {
		if version, isGlibc := strings.CutPrefix(s.Version, "GLIBC_2."); isGlibc {
			if minor, err := strconv.Atoi(strings.Split(version, ".")[0]); err != nil || minor > 17 {
				t.Errorf("%s needs %s", s.Name, s.Version)
			}
		}
	}
}

// TestBinariesFitEveryRelease: no symbol is newer than the glibc of any release of images/matrix.json, also of those whose
// images are not built here.
func TestBinariesFitEveryRelease(t *testing.T) {
	list, err := images.All()
	if err != nil {
		t.Fatal(err)
	}
	newest := 0
	for _, name := range dynamic {
		file, err := elf.Open(filepath.Join(root, "build", name))
		if err != nil {
			t.Fatalf("%v (make build)", err)
		}
		defer file.Close()
		symbols, err := file.ImportedSymbols()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range symbols {
			if version, isGlibc := strings.CutPrefix(s.Version, "GLIBC_2."); isGlibc {
				minor, err := strconv.Atoi(strings.Split(version, ".")[0])
				if err != nil {
					t.Fatalf("%s needs %s", s.Name, s.Version)
				}
				newest = max(newest, minor)
			}
		}
	}
	for _, i := range list {
		t.Run(i.Name, func(t *testing.T) {
			minor, err := strconv.Atoi(strings.TrimPrefix(i.Versions["glibc"], "2."))
			if err != nil || newest == 0 || minor < newest {
				t.Errorf("glibc %s: a symbol of 2.%d is needed (%v)", i.Versions["glibc"], newest, err)
			}
		})
	}
}

// TestModuleExports: the module exports the functions of PKCS#11 v2.40, as its header lists them, and nothing else.
func TestModuleExports(t *testing.T) {
	header, err := os.ReadFile(filepath.Join(root, "pkcs11", "module", "cryptoki.h"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^\tX\((C_\w+),`).FindAllStringSubmatch(string(header), -1) {
		want = append(want, m[1])
	}
	file, err := elf.Open(filepath.Join(root, "build", "libsignkit-pkcs11.so"))
	if err != nil {
		t.Fatalf("%v (make build)", err)
	}
	defer file.Close()
	symbols, err := file.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	var exported []string
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF {
			exported = append(exported, s.Name)
		}
	}
	slices.Sort(want)
	slices.Sort(exported)
	if len(want) != 68 || !slices.Equal(exported, want) {
		t.Errorf("exports\n%v\nwant the 68 functions\n%v", exported, want)
	}
}

// TestImagesHaveTheBuiltFiles: every image has the files that were read above, byte for byte, executable for everybody.
func TestImagesHaveTheBuiltFiles(t *testing.T) {
	s := need(t)
	var want, paths []string
	for name, path := range binaries {
		if path == "" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, "build", name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		want, paths = append(want, "755 root "+hex.EncodeToString(sum[:])+" "+path), append(paths, path)
	}
	slices.Sort(want)
	for _, img := range s.images {
		for _, tag := range img.all() {
			if !strings.HasPrefix(tag, "signkit:") {
				continue
			}
			t.Run(strings.TrimPrefix(tag, "signkit:"), func(t *testing.T) {
				t.Parallel()
				got := s.run(t, container{image: tag, command: append([]string{"bash", "-c",
					`for f; do echo "$(stat -c '%a %U' "$f") $(sha256sum "$f" | tr -s ' ')"; done`, "-"}, paths...)})
				lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
				slices.Sort(lines)
				if !slices.Equal(lines, want) {
					t.Errorf("has\n%s\nwant\n%s\n(make images)", strings.Join(lines, "\n"), strings.Join(want, "\n"))
				}
			})
		}
	}
}
