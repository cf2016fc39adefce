package p11key

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signkit/internal/key"
)

const (
	pin = "48151623"
	// bound is for what does not hang: far more than it takes.
	bound = time.Minute
)

// hsm is a SoftHSM with these tokens: "keys" has a key of each kind, without certificates;
// "single" has one key; "twins" two keys of one name; "empty" none; two are called "double".
var hsm struct {
	why, dir     string // why there is none
	module, shim string
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "signkit-p11key")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	hsm.dir = dir
	if err := makeHSM(); err != nil {
		hsm.why = err.Error()
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func makeHSM() error {
	found, err := filepath.Glob("/usr/lib*/*/softhsm/libsofthsm2.so")
	if err != nil || len(found) == 0 {
		return errors.New("SoftHSM2 is not here (package softhsm2)")
	}
	hsm.module = found[0]
	conf, tokens := filepath.Join(hsm.dir, "softhsm2.conf"), filepath.Join(hsm.dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		return err
	}
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	// The module is C code in this process: it reads the C library's environment, which cgo keeps equal.
	os.Setenv("SOFTHSM2_CONF", conf)
	if err := os.WriteFile(filepath.Join(hsm.dir, "pin"), []byte(pin+"\n"), 0o600); err != nil {
		return err
	}
	for _, token := range []string{"keys", "single", "twins", "empty", "double", "double"} {
		if err := makeToken(token); err != nil {
			return err
		}
	}
	return errors.Join(makeKeys(), makeShim())
}

func makeToken(label string) error {
	return run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "87654321")
}

func makeKeys() error {
	for _, k := range []struct{ token, kind, label, id string }{
		{"keys", "rsa:2048", "rsa-2048", "01"},
		{"keys", "rsa:3072", "rsa-3072", "0a0b"},
		{"keys", "EC:prime256v1", "p-256", "02"},
		{"keys", "EC:secp384r1", "p-384", "03"},
		{"keys", "EC:secp521r1", "p-521", "04"},
		{"single", "EC:prime256v1", "only", "05"},
		{"twins", "EC:prime256v1", "twin", "09"},
		{"twins", "EC:prime256v1", "twin", "0a"},
	} {
		if err := tool(k.token, "--keypairgen", "--key-type", k.kind, "--label", k.label, "--id", k.id); err != nil {
			return err
		}
	}
	return nil
}

func tool(token string, args ...string) error {
	return run("pkcs11-tool", append([]string{"--module", hsm.module, "--token-label", token, "--login", "--pin", pin}, args...)...)
}

func makeShim() error {
	hsm.shim = filepath.Join(hsm.dir, "shim.so")
	os.Setenv("SHIM_REAL", hsm.module)
	os.Setenv("SHIM_FAULTS", hsm.dir)
	return run("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-I../../pkcs11/module",
		"-o", hsm.shim, "testdata/shim.c", "-ldl")
}

func run(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func pinFile() string { return filepath.Join(hsm.dir, "pin") }

// open opens a token of SoftHSM until the test ends.
func open(t *testing.T, token, key string) *Module {
	t.Helper()
	return openWith(t, Options{Module: hsm.module, Token: token, Key: key, PINFile: pinFile()})
}

func openWith(t *testing.T, o Options) *Module {
	t.Helper()
	if hsm.why != "" {
		t.Skip(hsm.why)
	}
	m, err := Open(bounded(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	t.Cleanup(cancel)
	return ctx
}

func find(t *testing.T, m *Module) *Key {
	t.Helper()
	key, err := m.Find(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// digestOf is a digest of the right length for opts.
func digestOf(opts crypto.SignerOpts) []byte {
	h := opts.HashFunc().New()
	h.Write([]byte("hello"))
	return h.Sum(nil)
}

// check verifies a signature with the standard library alone.
func check(public crypto.PublicKey, digest, made []byte, opts crypto.SignerOpts) error {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(public, pss.Hash, digest, made, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto})
		}
		return rsa.VerifyPKCS1v15(public, opts.HashFunc(), digest, made)
	case *ecdsa.PublicKey:
		if o, ok := opts.(key.ECDSAOptions); ok && o.Format == key.P1363 {
			return checkP1363(public, digest, made)
		}
		if !ecdsa.VerifyASN1(public, digest, made) {
			return errors.New("the ECDSA signature does not verify")
		}
		return nil
	}
	return fmt.Errorf("key of type %T", public)
}

// mustSign signs, and verifies outside of this package.
func mustSign(t *testing.T, key *Key) {
	t.Helper()
	digest := digestOf(crypto.SHA256)
	made, err := key.SignContext(bounded(t), digest, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(key.Public(), digest, made, crypto.SHA256); err != nil {
		t.Fatal(err)
	}
}
