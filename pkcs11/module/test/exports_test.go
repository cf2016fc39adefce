package moduletest

import (
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"signkit/internal/config"
)

// TestExports reads the built files: the standard's functions and nothing
// else, no library but the C library's parts, no symbol newer than glibc 2.17.
func TestExports(t *testing.T) {
	header, err := os.ReadFile("../cryptoki.h")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^\tX\((C_\w+),`).FindAllStringSubmatch(string(header), -1) {
		want = append(want, m[1])
	}
	slices.Sort(want)
	if len(want) != 68 {
		t.Fatalf("cryptoki.h lists %d functions; v2.40 has 68", len(want))
	}
	for _, v := range shared.variant[:2] {
		t.Run(v.name, func(t *testing.T) {
			if v.why != "" {
				t.Skip(v.why)
			}
			file, err := elf.Open(v.module)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			checkExports(t, file, want)
			if v.name == "shipped" {
				checkBaseline(t, file)
			}
		})
	}
}

func checkExports(t *testing.T, file *elf.File, want []string) {
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
	slices.Sort(exported)
	if !slices.Equal(exported, want) {
		t.Errorf("exported:\n%v\nwant\n%v", exported, want)
	}
	needed, err := file.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, library := range needed {
		if !slices.Contains([]string{"libc.so.6", "libpthread.so.0", "libdl.so.2"}, library) {
			t.Errorf("needs %s", library)
		}
	}
}

// checkBaseline also refuses what musl does not have: fortified functions and versioned stat.
func checkBaseline(t *testing.T, file *elf.File) {
	imported, err := file.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range imported {
		minor, isGlibc := strings.CutPrefix(s.Version, "GLIBC_2.")
		number, err := strconv.Atoi(strings.Split(minor, ".")[0])
		if isGlibc && (err != nil || number > 17) {
			t.Errorf("%s needs %s", s.Name, s.Version)
		}
		if strings.HasSuffix(s.Name, "_chk") || strings.Contains(s.Name, "xstat") {
			t.Errorf("%s does not exist in musl", s.Name)
		}
	}
}

// TestStandard calls every function through the standard's own header, which a
// library for loading modules brings along.
func TestStandard(t *testing.T) {
	t.Parallel()
	got, err := launch([]string{"go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11"}, os.Environ())
	if err != nil || got.code != 0 {
		t.Fatalf("%v: %s", err, got.stderr)
	}
	headers := strings.TrimSpace(got.stdout)
	for _, v := range shared.variant[:2] {
		t.Run(v.name, func(t *testing.T) {
			v.need(t)
			program := shared.program(t, "standard", v.compiler, "-isystem", headers)
			for _, key := range []string{"demo/rsa-2048", "demo/p-256"} {
				got := shared.mustRun(t, host{args: []string{program, v.module, key}}, key, "hello", 1)
				if n := strings.Count(got.stderr, "signkit: error"); n != 1 || !strings.Contains(got.stderr, "salt of 32 bytes") {
					t.Errorf("%d records, of the parameter that was refused:\n%s", n, got.stderr)
				}
			}
		})
	}
}

// TestEnvironmentIsPassedOn compares the module's allow-list with what the token process reads.
func TestEnvironmentIsPassedOn(t *testing.T) {
	source, err := os.ReadFile("../spawn.c")
	if err != nil {
		t.Fatal(err)
	}
	text := string(source)
	for _, name := range config.EnvironmentNames() {
		if strings.HasPrefix(name, "SIGNPATH_") || strings.HasPrefix(name, "SIGNKIT_") {
			continue
		}
		if !strings.Contains(text, strconv.Quote(name)) {
			t.Errorf("spawn.c does not pass %s on", name)
		}
	}
	for _, forbidden := range []string{"GODEBUG", "GOTRACEBACK", "LD_PRELOAD", "GITHUB_TOKEN", "CI_JOB_TOKEN"} {
		if strings.Contains(text, strconv.Quote(forbidden)) {
			t.Errorf("spawn.c passes %s on", forbidden)
		}
	}
}

// TestIncludesPointDown keeps the files of the module in the order that docs/architecture.md names: none knows of those above it.
func TestIncludesPointDown(t *testing.T) {
	rank := map[string]int{"wire": 0, "cryptoki": 0, "console": 1, "socket": 1, "fork": 2, "spawn": 2, "connect": 2,
		"pool": 3, "rpc": 4, "lifecycle": 5, "entry": 6, "sign": 6, "unsupported": 6}
	sources, err := filepath.Glob("../*.[ch]")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(source), filepath.Ext(source))
		own, known := rank[name]
		if !known {
			t.Errorf("%s has no place in the order", source)
		}
		for line := range strings.Lines(string(text)) {
			included, found := strings.CutPrefix(strings.TrimSpace(line), `#include "`)
			if included = strings.TrimSuffix(included, `.h"`); found && included != name && rank[included] >= own {
				t.Errorf("%s includes %s.h", source, included)
			}
		}
	}
}
