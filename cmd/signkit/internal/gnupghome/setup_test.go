package gnupghome

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"signkit/gpgagent/card"
	"signkit/gpgagent/keyfile"
)

// TestMain lets this program be the bridge that gpg-agent starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "--multi-server" {
		bridge()
		return
	}
	os.Exit(m.Run())
}

// bridge answers what a set-up asks; it never signs. BRIDGE_FAILS makes it end at once.
func bridge() {
	if os.Getenv("BRIDGE_FAILS") != "" {
		return
	}
	fmt.Println("OK test bridge")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch line := lines.Text(); {
		case line == "GETINFO version":
			fmt.Println("D 9.9.9")
		case line == "GETINFO socket_name":
			fmt.Println("ERR 100663571 no socket")
			continue
		case strings.HasPrefix(line, "SERIALNO"):
			fmt.Println("S SERIALNO " + card.SerialNumber)
		}
		fmt.Println("OK")
	}
}

func cleanupContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 20*time.Second)
}

// status is ask for commands that answer with S lines.
func (h *Home) status(ctx context.Context, command string) (string, error) {
	socket, err := h.socket(ctx)
	if err != nil {
		return "", err
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s\nBYE\n", command)
	var all bytes.Buffer
	_, err = all.ReadFrom(conn)
	return all.String(), err
}

// newKey makes a key with its OpenPGP public key, as if it were remote.
func newKey(t *testing.T, policy string) Key {
	t.Helper()
	e, err := openpgp.NewEntity("Test", "", policy+"@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP256,
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	public := e.PrimaryKey.PublicKey
	ec, ok := public.(interface{ MarshalPoint() []byte })
	if !ok {
		t.Fatalf("a key of type %T", public)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), ec.MarshalPoint())
	if err != nil {
		t.Fatal(err)
	}
	entry := entryFor(t, key, policy)
	entry.Fingerprint = fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)
	entry.Created = e.PrimaryKey.CreationTime
	return Key{Entry: entry, Public: b.Bytes()}
}

func options(t *testing.T, keys ...Key) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Bridge: self, Environ: os.Environ(), Keys: keys}
}

func TestSetUpMakesGPGListTheKeys(t *testing.T) {
	requireGPG(t)
	h := newHome(t)
	one, two := newKey(t, "one"), newKey(t, "two")
	result, err := h.SetUp(t.Context(), options(t, one, two))
	if err != nil {
		t.Fatal(err)
	}
	if result.AgentPID == "" || result.Displaced != "" {
		t.Errorf("%+v", result)
	}
	keys, err := h.Keys()
	if err != nil || len(keys) != 2 || keys[1].Fingerprint != two.Entry.Fingerprint {
		t.Errorf("%v %v", keys, err)
	}
	version, err := h.BridgeVersion(t.Context())
	if err != nil || version != "9.9.9" {
		t.Errorf("the bridge answers %q %v", version, err)
	}
	// Once more, as a second shell would: nothing gets in its way.
	if _, err := h.SetUp(t.Context(), options(t, one)); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestAFailedSetUpLeavesNothingBehind(t *testing.T) {
	requireGPG(t)
	key := newKey(t, "one")
	broken := newKey(t, "two")
	broken.Public = []byte("nonsense")
	other := key
	other.Entry.SignPath = &keyfile.SignPath{Project: "demo", Policy: "other"}
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"bridge that is not there":      {func(o *Options) { o.Bridge = "/no/such/program" }, "/no/such/program"},
		"bridge that ends at once":      {func(o *Options) { o.Environ = append(o.Environ, "BRIDGE_FAILS=1") }, "cannot reach the bridge"},
		"second key without public key": {func(o *Options) { o.Keys = append(o.Keys, broken) }, "importing the public key of demo/two"},
		"two policies with one key":     {func(o *Options) { o.Keys = append(o.Keys, other) }, "demo/one"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			o := options(t, key)
			c.change(&o)
			if _, err := h.SetUp(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(h.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder: %v", err)
			}
		})
	}
}

func TestAFailedSetUpPutsAnExistingHomeBack(t *testing.T) {
	requireGPG(t)
	h, err := Open(filepath.Join(shortDir(t), "home"))
	if err != nil {
		t.Fatal(err)
	}
	conf := h.file(agentConfiguration)
	if err := os.WriteFile(conf, []byte("default-cache-ttl 7\nscdaemon-program /usr/bin/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := newKey(t, "one")
	o := options(t, key)
	o.Environ = append(o.Environ, "BRIDGE_FAILS=1")
	if _, err := h.SetUp(t.Context(), o); err == nil {
		t.Fatal("no error")
	}
	if text, _ := os.ReadFile(conf); string(text) != "default-cache-ttl 7\nscdaemon-program /usr/bin/other\n" {
		t.Errorf("%s is now %q", agentConfiguration, text)
	}
	for _, path := range []string{h.StubFile(key.Entry.Keygrip), h.file(keyfile.Name)} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := h.AgentPID(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("its agent: %v", err)
	}
}

func TestAnExistingHomeKeepsItsKeysAndSettings(t *testing.T) {
	requireGPG(t)
	h, err := Open(filepath.Join(shortDir(t), "home"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := cleanupContext()
		defer cancel()
		h.stopAgent(ctx)
	})
	if _, err := h.run(t.Context(), os.Environ(), nil, "gpg", "--batch", "--passphrase", "", "--quick-gen-key", "Local <local@example.com>", "ed25519", "sign", "never"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.file(agentConfiguration), []byte("scdaemon-program /usr/bin/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := h.SetUp(t.Context(), options(t, newKey(t, "one")))
	if err != nil || result.Displaced != "/usr/bin/other" {
		t.Fatalf("%+v %v", result, err)
	}
	if _, err := h.run(t.Context(), os.Environ(), []byte("x"), "gpg", "--batch", "-u", "local@example.com", "--detach-sign"); err != nil {
		t.Errorf("the key that was there does not sign any more: %v", err)
	}
	if err := h.End(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(h.Dir); err != nil {
		t.Errorf("the folder: %v", err)
	}
}

func TestARealPrivateKeyIsNeverReplaced(t *testing.T) {
	requireGPG(t)
	h, err := Open(filepath.Join(shortDir(t), "home"))
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t, "one")
	path := h.StubFile(key.Entry.Keygrip)
	content := []byte("Key: (private-key (ecc))\n")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
		t.Fatal(err)
	}
	var real *RealKeyError
	if _, err := h.SetUp(t.Context(), options(t, key)); !errors.As(err, &real) {
		t.Errorf("got %v", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, content) {
		t.Errorf("now %q", now)
	}
	if _, err := os.Stat(h.file(keyfile.Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the list of keys: %v", err)
	}
}

// A private key that comes while the agent is being started is not taken away when that fails.
func TestAFailedSetUpLeavesAPrivateKeyThatCameMeanwhile(t *testing.T) {
	content := []byte("Key: (private-key (ecc))\n")
	for _, c := range []struct {
		name        string
		before, now []byte
		want        []byte
	}{
		{"none before", nil, content, content},
		{"a reference before", []byte("Key: (shadowed-private-key (ecc))\n"), content, content},
		{"our reference, none before", nil, []byte("Key: (shadowed-private-key (rsa))\n"), nil},
		{"our reference, another before", []byte("Key: (shadowed-private-key (ecc))\n"), []byte("Key: (shadowed-private-key (rsa))\n"),
			[]byte("Key: (shadowed-private-key (ecc))\n")},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "grip.key")
			write := func(data []byte) {
				if data != nil {
					if err := os.WriteFile(path, data, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			write(c.before)
			var done undo
			done.keepReference(path)
			write(c.now)
			done.all()
			if got, err := os.ReadFile(path); !bytes.Equal(got, c.want) || (err == nil) != (c.want != nil) {
				t.Errorf("now %q, %v", got, err)
			}
		})
	}
}

func TestTheAgentsConfigurationKeepsOtherLines(t *testing.T) {
	for _, c := range []struct{ old, want, displaced string }{
		{"", "scdaemon-program /b\n", ""},
		{"scdaemon-program /b\n", "scdaemon-program /b\n", ""},
		{"a 1\n# c", "a 1\n# c\nscdaemon-program /b\n", ""},
		{"  scdaemon-program  /x y\nz\n", "# signkit gpg init:   scdaemon-program  /x y\nz\nscdaemon-program /b\n", "/x y"},
		{"disable-scdaemon\n", "# signkit gpg init: disable-scdaemon\nscdaemon-program /b\n", ""},
	} {
		if got := string(withBridge([]byte(c.old), "/b")); got != c.want {
			t.Errorf("%q became %q", c.old, got)
		}
		if got := otherProgram([]byte(c.old), "/b"); got != c.displaced {
			t.Errorf("%q displaced %q", c.old, got)
		}
	}
}
