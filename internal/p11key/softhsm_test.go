package p11key

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"signkit/internal/key"
)

func checkP1363(public *ecdsa.PublicKey, digest, made []byte) error {
	size := (public.Params().BitSize + 7) / 8
	if len(made) != 2*size {
		return fmt.Errorf("P1363 signature of %d bytes, want %d", len(made), 2*size)
	}
	if !ecdsa.Verify(public, digest, new(big.Int).SetBytes(made[:size]), new(big.Int).SetBytes(made[size:])) {
		return errors.New("the ECDSA signature does not verify")
	}
	return nil
}

func TestSignsWithEveryKeyWithoutCertificate(t *testing.T) {
	for _, name := range []string{"rsa-2048", "rsa-3072", "p-256", "p-384", "p-521"} {
		t.Run(name, func(t *testing.T) {
			key := find(t, open(t, "keys", name))
			if want := "pkcs11:keys/" + name; key.ID() != want {
				t.Errorf("ID %q, want %q", key.ID(), want)
			}
			for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
				for _, opts := range optionsFor(key, hash) {
					signAs(t, key, opts)
				}
			}
		})
	}
}

func optionsFor(k *Key, hash crypto.Hash) []crypto.SignerOpts {
	if _, ok := k.Public().(*rsa.PublicKey); !ok {
		return []crypto.SignerOpts{hash, key.ECDSAOptions{Hash: hash}, key.ECDSAOptions{Hash: hash, Format: key.P1363}}
	}
	return []crypto.SignerOpts{hash,
		&rsa.PSSOptions{Hash: hash, SaltLength: rsa.PSSSaltLengthEqualsHash},
		&rsa.PSSOptions{Hash: hash, SaltLength: rsa.PSSSaltLengthAuto},
		&rsa.PSSOptions{Hash: hash, SaltLength: 7}}
}

func signAs(t *testing.T, key *Key, opts crypto.SignerOpts) {
	t.Helper()
	digest := digestOf(opts)
	made, err := key.SignContext(bounded(t), digest, opts)
	if err != nil {
		t.Errorf("%T %v: %v", opts, opts.HashFunc(), err)
		return
	}
	if err := check(key.Public(), digest, made, opts); err != nil {
		t.Errorf("%T %v: %v", opts, opts.HashFunc(), err)
	}
}

// selfSigned lets crypto/x509 use the key as any other crypto.Signer.
func selfSigned(t *testing.T, key *Key) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestIsACryptoSigner(t *testing.T) {
	for _, name := range []string{"p-256", "rsa-2048"} {
		certificate, err := x509.ParseCertificate(selfSigned(t, find(t, open(t, "keys", name))))
		if err != nil {
			t.Fatal(err)
		}
		if err := certificate.CheckSignature(certificate.SignatureAlgorithm, certificate.RawTBSCertificate, certificate.Signature); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFindsAKeyByLabelOrHexadecimalID(t *testing.T) {
	for name, want := range map[string]string{"rsa-3072": "rsa-3072", "0a0b": "rsa-3072", "0A:0B": "rsa-3072", "02": "p-256"} {
		if key := find(t, open(t, "keys", name)); key.Name() != want {
			t.Errorf("%q finds %q, want %q", name, key.Name(), want)
		}
	}
	if key := find(t, open(t, "single", "")); key.Name() != "only" {
		t.Errorf("no name finds %q, want the only key", key.Name())
	}
}

// bareToken is a new token, its keys have no public key objects; "certified" has a certificate.
func bareToken(t *testing.T, label string) (rsaKey, certified crypto.PublicKey) {
	t.Helper()
	if hsm.why != "" {
		t.Skip(hsm.why)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(makeToken(label))
	must(tool(label, "--keypairgen", "--key-type", "rsa:2048", "--label", "rsa", "--id", "06"))
	must(tool(label, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "ec", "--id", "07"))
	must(tool(label, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "certified", "--id", "08"))
	file := filepath.Join(t.TempDir(), "certificate.der")
	for _, name := range []string{"rsa", "certified"} {
		m, err := Open(bounded(t), Options{Module: hsm.module, Token: label, Key: name, PINFile: pinFile()})
		must(err)
		key, err := m.Find(bounded(t))
		must(err)
		if name == "rsa" {
			rsaKey = key.Public()
		} else {
			must(os.WriteFile(file, selfSigned(t, key), 0o600))
			certified = key.Public()
		}
		must(m.Close())
	}
	must(tool(label, "--write-object", file, "--type", "cert", "--id", "08", "--label", "certified"))
	for _, id := range []string{"06", "07", "08"} {
		must(tool(label, "--delete-object", "--type", "pubkey", "--id", id))
	}
	return rsaKey, certified
}

func TestPublicKeyComesFromTheKeyOrACertificate(t *testing.T) {
	label := fmt.Sprintf("bare %d", time.Now().UnixNano())
	rsaKey, certified := bareToken(t, label)
	for name, want := range map[string]crypto.PublicKey{"rsa": rsaKey, "certified": certified} {
		key := find(t, open(t, label, name))
		if !want.(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
			t.Errorf("%s: another public key", name)
		}
		mustSign(t, key)
	}
	if _, err := open(t, label, "ec").Find(bounded(t)); err == nil || !strings.Contains(err.Error(), "write its public key object") {
		t.Errorf("an EC key that shows no public key: %v", err)
	}
}

func TestErrorsSayWhatToChange(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := write("text.so", "this is no library")
	foreign := write("foreign.so", "\x7fELF\x02\x01\x01"+strings.Repeat("\x00", 9)+"\x03\x00\xf3\x00\x01"+strings.Repeat("\x00", 43))
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"relative path", Options{Module: "libsofthsm2.so"}, "give the absolute path"},
		{"no file", Options{Module: "/nowhere/module.so"}, "check the module path"},
		{"folder", Options{Module: dir}, "is a folder; check the module path"},
		{"no library", Options{Module: text}, "is not a shared library"},
		{"another machine", Options{Module: foreign}, "is for another machine (EM_RISCV"},
		{"no module", Options{Module: libc(t)}, "exports no C_GetFunctionList"},
		{"no such token", Options{Token: "kesy", PINFile: pinFile()}, `no token with the label "kesy"; check the token label: it has "`},
		{"which token", Options{PINFile: pinFile()}, "has several tokens; choose one by its token label"},
		{"token twice", Options{Token: "double", PINFile: pinFile()}, `has 2 tokens with the label "double"`},
		{"no PIN file", Options{Token: "keys", Key: "p-256"}, `token "keys" of ` + hsm.module + " wants a PIN; name a PIN file"},
		{"PIN file missing", Options{Token: "keys", PINFile: "/nowhere/pin"}, "the PIN file cannot be opened: no such file or directory; name a file that holds the PIN"},
		{"PIN file is a folder", Options{Token: "keys", PINFile: dir}, "reading the PIN: is a directory; check the PIN file"},
		{"PIN file empty", Options{Token: "keys", PINFile: write("empty", "\n")}, "is empty"},
		{"PIN file with two lines", Options{Token: "keys", PINFile: write("two", pin+"\nsecond\n")}, "more than one line"},
		{"PIN file too long", Options{Token: "keys", PINFile: write("long", strings.Repeat("1", 5000))}, "more than 4096 bytes"},
		{"no such key", Options{Token: "twins", Key: "twni", PINFile: pinFile()}, `no private key "twni"; check the key's label or id: "twin" (id 09), "twin" (id 0a)`},
		{"label twice", Options{Token: "twins", Key: "twin", PINFile: pinFile()}, `2 private keys with that name; choose one by its id`},
		{"which key", Options{Token: "twins", PINFile: pinFile()}, `choose one by its label or id as key: "twin" (id 09), "twin" (id 0a)`},
		{"no key at all", Options{Token: "empty", PINFile: pinFile()}, "shows no private key that can sign"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if hsm.why != "" {
				t.Skip(hsm.why)
			}
			if c.o.Module == "" {
				c.o.Module = hsm.module
			}
			err := openAndFind(t, c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), pin) {
				t.Error("the error shows the PIN")
			}
			if err != nil && c.o.PINFile != "" && strings.Contains(err.Error(), c.o.PINFile) {
				t.Error("the error shows what was given as the PIN file: it may be the PIN")
			}
		})
	}
}

// libc is a library that is no PKCS#11 module.
func libc(t *testing.T) string {
	found, err := filepath.Glob("/lib/*-linux-gnu/libc.so.6")
	if err != nil || len(found) == 0 {
		t.Skip("no libc.so.6 in /lib/*-linux-gnu")
	}
	return found[0]
}

func openAndFind(t *testing.T, o Options) error {
	t.Helper()
	m, err := Open(bounded(t), o)
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = m.Find(bounded(t))
	return err
}

func TestPINWithWindowsLineEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte(pin+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustSign(t, find(t, openWith(t, Options{Module: hsm.module, Token: "single", PINFile: path})))
}

func TestRefusesWhatItCannotSign(t *testing.T) {
	rsaKey, ecKey := find(t, open(t, "keys", "rsa-2048")), find(t, open(t, "keys", "p-256"))
	digest := digestOf(crypto.SHA256)
	for _, c := range []struct {
		key  *Key
		opts crypto.SignerOpts
		want error
	}{
		{rsaKey, nil, ErrUnsupported},
		{rsaKey, crypto.SHA512, ErrDigestLength},
		{rsaKey, crypto.SHA3_256, ErrUnsupported},
		{rsaKey, crypto.Hash(99), ErrUnsupported},
		{rsaKey, key.ECDSAOptions{Hash: crypto.SHA256}, ErrUnsupported},
		{rsaKey, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 1000}, ErrUnsupported},
		{ecKey, crypto.SHA384, ErrDigestLength},
		{ecKey, &rsa.PSSOptions{Hash: crypto.SHA256}, ErrUnsupported},
	} {
		if _, err := c.key.SignContext(bounded(t), digest, c.opts); !errors.Is(err, c.want) {
			t.Errorf("%s with %#v: %v, want %v", c.key.ID(), c.opts, err, c.want)
		}
	}
	if _, err := ecKey.SignContext(bounded(t), nil, nil); !errors.Is(err, ErrDigestLength) {
		t.Errorf("no digest: %v", err)
	}
	made, err := ecKey.SignContext(bounded(t), digest, nil)
	if err != nil || check(ecKey.Public(), digest, made, crypto.Hash(0)) != nil {
		t.Errorf("ECDSA with no options: %v", err)
	}
}

func TestManySignaturesAtATime(t *testing.T) {
	rsaKey, ecKey := find(t, open(t, "keys", "rsa-2048")), find(t, open(t, "keys", "p-256"))
	var group sync.WaitGroup
	for i := range 64 {
		key := []*Key{rsaKey, ecKey}[i%2]
		group.Go(func() {
			for range 5 {
				signAs(t, key, crypto.SHA256)
			}
		})
	}
	group.Wait()
}

// TestClosingOneUserLeavesTheOther opens a module twice, as for two keys of one token.
func TestClosingOneUserLeavesTheOther(t *testing.T) {
	first := find(t, open(t, "keys", "rsa-2048"))
	m, err := Open(bounded(t), Options{Module: hsm.module, Token: "keys", Key: "p-256", PINFile: pinFile()})
	if err != nil {
		t.Fatal(err)
	}
	mustSign(t, find(t, m))
	mustSign(t, first)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	mustSign(t, first)
}

func TestAContextThatHasEndedSignsNothing(t *testing.T) {
	key := find(t, open(t, "keys", "p-256"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if made, err := key.SignContext(ctx, digestOf(crypto.SHA256), crypto.SHA256); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.Canceled) {
		t.Errorf("%x, %v; want ErrTimeout and context.Canceled", made, err)
	}
}
