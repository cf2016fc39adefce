package integration

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
)

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, dir, name string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, name, string(text))
}

// checkLeaf checks that a DER file is an end-entity certificate, and not the root itself.
func checkLeaf(t *testing.T, derFile, rootFile string) {
	t.Helper()
	der, err := os.ReadFile(derFile)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(rootFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s is no PEM file", rootFile)
	}
	if leaf.IsCA || string(block.Bytes) == string(der) {
		t.Errorf("%s is no end-entity certificate", leaf.Subject)
	}
}
