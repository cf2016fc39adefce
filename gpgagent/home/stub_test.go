package home

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signkit/gpgagent/card"
	"signkit/gpgagent/keyfile"
	"signkit/internal/keygrip"
)

func entryFor(t *testing.T, public any, policy string) keyfile.Entry {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	grip, err := keygrip.Of(public)
	if err != nil {
		t.Fatal(err)
	}
	return keyfile.Entry{
		Keygrip: grip, Public: der, Fingerprint: strings.Repeat("A", 40),
		UserID: "Test <test@example.com>", SignPath: &keyfile.SignPath{Project: "demo", Policy: policy},
	}
}

func newEC(t *testing.T) keyfile.Entry {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return entryFor(t, key.Public(), "ec")
}

func TestStubsAreReadByGPGAgent(t *testing.T) {
	requireGPG(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range []keyfile.Entry{newEC(t), entryFor(t, rsaKey.Public(), "rsa")} {
		h := newHome(t)
		if err := h.writeStub(entry); err != nil {
			t.Fatal(err)
		}
		socket, err := h.AgentSocket(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := h.startAgent(t.Context(), os.Environ(), socket); err != nil {
			t.Fatal(err)
		}
		// S KEYINFO <keygrip> T <serial> <keyref> … : T is a key on a card.
		out, err := h.status(t.Context(), "KEYINFO "+entry.Keygrip)
		if err != nil || !strings.Contains(out, entry.Keygrip+" T "+card.SerialNumber+" "+entry.Keygrip) {
			t.Errorf("KEYINFO: %q %v", out, err)
		}
		// The agent computes the public key from the stub.
		if _, err := ask(t.Context(), socket, "READKEY "+entry.Keygrip); err != nil {
			t.Error(err)
		}
	}
}

func TestKindsOfKeyFiles(t *testing.T) {
	for want, text := range map[string]string{
		"private-key":           "(11:private-key(3:rsa(1:n1:\x05)))",
		"protected-private-key": "Created: 20260101T000000\nKey: (protected-private-key (rsa (n #00#)))\n",
		"shadowed-private-key":  "Token: X Y\nKey:\n (shadowed-private-key\n  (rsa))\nLabel: x\n",
		"":                      "Key: nonsense\n",
	} {
		if got := kind([]byte(text)); got != want {
			t.Errorf("%q is %q", text, got)
		}
	}
	for _, text := range []string{"", "(", "()", "(()3:abc)", "no field\n", " Key: (private-key)\n"} {
		if got := kind([]byte(text)); got != "" {
			t.Errorf("%q is %q", text, got)
		}
	}
}

func TestReferencesAreReplacedAndRealKeysAreNot(t *testing.T) {
	entry := newEC(t)
	for name, c := range map[string]struct {
		content string
		refused bool
	}{
		"another program's reference": {"(20:shadowed-private-key(3:ecc)(8:shadowed5:t1-v1))", false},
		"a real key":                  {"(21:protected-private-key(3:ecc))", true},
		"a real key, newer form":      {"Key: (private-key (ecc))\n", true},
		"something else":              {"?", true},
	} {
		h := newHome(t)
		path := h.StubFile(entry.Keygrip)
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(c.content), 0o600)); err != nil {
			t.Fatal(err)
		}
		err := h.writeStub(entry)
		got, _ := os.ReadFile(path)
		var real *RealKeyError
		if c.refused && (!errors.As(err, &real) || string(got) != c.content) {
			t.Errorf("%s: %v, now %q", name, err, got)
		}
		if !c.refused && (err != nil || !strings.HasPrefix(string(got), "Token: ")) {
			t.Errorf("%s: %v, now %q", name, err, got)
		}
		if left, _ := filepath.Glob(filepath.Dir(path) + "/.*"); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

func TestStubFilesAreForThisUserAlone(t *testing.T) {
	h := newHome(t)
	entry := newEC(t)
	for range 2 { // created, then replaced
		if err := h.writeStub(entry); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(h.StubFile(entry.Keygrip))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	}
}

func newHome(t *testing.T) *Home {
	t.Helper()
	h, err := Create(shortDir(t))
	if err != nil {
		t.Fatal(err)
	}
	endLater(t, h)
	return h
}

// endLater ends the home with the test, whose context is over by then.
func endLater(t *testing.T, h *Home) {
	t.Cleanup(func() {
		if err := h.End(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if h.Temporary {
			return
		}
		if _, err := h.run(context.WithoutCancel(t.Context()), os.Environ(), nil, "gpgconf", "--kill", "all"); err != nil {
			t.Error(err)
		}
		if _, err := h.run(context.WithoutCancel(t.Context()), os.Environ(), nil, "gpgconf", "--remove-socketdir"); err != nil {
			t.Error(err)
		}
	})
}

func requireGPG(t *testing.T) {
	t.Helper()
	for _, program := range []string{"gpg", "gpg-agent"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not here")
		}
	}
}
