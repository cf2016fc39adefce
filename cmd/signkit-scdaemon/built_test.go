package main

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// built is the program that make build has made.
func built(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../build/signkit-scdaemon")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("make build has not made " + path)
	}
	return path
}

// The program that ships needs no library but the C library's parts, and no
// symbol newer than glibc 2.17.
func TestBuiltProgramRunsOnOldSystems(t *testing.T) {
	if os.Getenv("MODULE_CC") != "" {
		t.Skip("MODULE_CC is set: the program is for this machine's own glibc")
	}
	file, err := elf.Open(built(t))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	libraries, err := file.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, library := range libraries {
		if !slices.Contains([]string{"libc.so.6", "libpthread.so.0", "libdl.so.2"}, library) {
			t.Errorf("it needs %s", library)
		}
	}
	symbols, err := file.ImportedSymbols()
	if err != nil || len(symbols) == 0 {
		t.Fatalf("%d symbols, %v", len(symbols), err)
	}
	for _, symbol := range symbols {
		version, ok := strings.CutPrefix(symbol.Version, "GLIBC_2.")
		if !ok {
			continue
		}
		minor, _, _ := strings.Cut(version, ".")
		if n, err := strconv.Atoi(minor); err != nil || n > 17 {
			t.Errorf("%s is of %s", symbol.Name, symbol.Version)
		}
	}
}

// The program that ships signs, too: it is built otherwise than this test.
func TestBuiltProgramSigns(t *testing.T) {
	path := built(t)
	s := startService(t, 0)
	g := newGnuPG(t, s, nil)
	g.write("gpg-agent.conf", "scdaemon-program "+path+"\npinentry-program "+g.path("pinentry")+"\n", 0o600)
	g.addPolicy(s, "rsa-2048")
	file, signature := g.sign("rsa-2048")
	if err := g.verifier()("--verify", signature, file); err != nil {
		t.Error(err)
	}
	if version := g.agent("SCD GETINFO signkit_version"); version == "" || version == "dev" {
		t.Errorf("version %q", version)
	}
}
