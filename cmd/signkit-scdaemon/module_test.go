package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signkit/gpgagent/keyfile"
	"signkit/internal/p11key"
)

const modulePIN = "48151623"

// softHSM makes a token with keys of each kind, and no certificates.
func softHSM(t *testing.T) (module, pinFile, conf string) {
	t.Helper()
	found, err := filepath.Glob("/usr/lib*/*/softhsm/libsofthsm2.so")
	if err != nil || len(found) == 0 {
		t.Skip("SoftHSM2 is not installed (package softhsm2)")
	}
	dir := t.TempDir()
	conf, pinFile = filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "pin")
	for path, text := range map[string]string{
		conf: "directories.tokendir = " + dir + "\nobjectstore.backend = file\nlog.level = ERROR\n", pinFile: modulePIN + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	mustRun(t, "softhsm2-util", "--init-token", "--free", "--label", "release", "--pin", modulePIN, "--so-pin", "87654321")
	for label, kind := range map[string]string{"rsa": "rsa:2048", "p-256": "EC:prime256v1", "p-384": "EC:secp384r1"} {
		mustRun(t, "pkcs11-tool", "--module", found[0], "--token-label", "release", "--login", "--pin", modulePIN,
			"--keypairgen", "--key-type", kind, "--label", label)
	}
	return found[0], pinFile, conf
}

func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	if out, err := command(t, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// Keys of any PKCS#11 module sign through the same bridge, with no certificate
// and no service.
func TestKeysOfAModule(t *testing.T) {
	module, pinFile, conf := softHSM(t)
	g := newGnuPG(t, nil, nil, "SOFTHSM2_CONF="+conf)
	for _, label := range []string{"rsa", "p-256", "p-384"} {
		source := keyfile.PKCS11{Module: module, Token: "release", Key: label, PINFile: pinFile}
		addModuleKey(t, g, source)
	}
	verify := g.verifier()
	for range 2 {
		for label := range g.keys {
			file, signature := g.sign(label)
			if err := verify("--verify", signature, file); err != nil {
				t.Errorf("%s: %v", label, err)
			}
		}
	}
}

func addModuleKey(t *testing.T, g *gnupg, source keyfile.PKCS11) {
	t.Helper()
	m, err := p11key.Open(t.Context(), p11key.Options{
		Module: source.Module, Token: source.Token, Key: source.Key, PINFile: source.PINFile})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	key, err := m.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g.add(source.Key, key, func(e *keyfile.Entry) { e.PKCS11 = &source })
}

// A token that has another key under the name than the one that was set up, or
// that refuses the PIN, is reported before anything is signed.
func TestModuleThatHasChanged(t *testing.T) {
	module, pinFile, conf := softHSM(t)
	wrongPIN := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(wrongPIN, []byte("99999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		source keyfile.PKCS11
		record string
	}{
		"another key": {keyfile.PKCS11{Module: module, Token: "release", Key: "p-384", PINFile: pinFile}, "another key"},
		"no such key": {keyfile.PKCS11{Module: module, Token: "release", Key: "gone", PINFile: pinFile}, "gone"},
		"no token":    {keyfile.PKCS11{Module: module, Token: "gone", Key: "p-256", PINFile: pinFile}, "gone"},
		"wrong PIN":   {keyfile.PKCS11{Module: module, Token: "release", Key: "p-256", PINFile: wrongPIN}, "PIN"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGnuPG(t, nil, nil, "SOFTHSM2_CONF="+conf)
			addModuleKey(t, g, keyfile.PKCS11{Module: module, Token: "release", Key: "p-256", PINFile: pinFile})
			list, err := keyfile.Load(g.path(keyfile.Name))
			if err != nil {
				t.Fatal(err)
			}
			e := list.Keys[0]
			e.PKCS11 = &test.source
			if err := os.Remove(g.path(keyfile.Name)); err != nil {
				t.Fatal(err)
			}
			if err := keyfile.Add(g.path(keyfile.Name), e); err != nil {
				t.Fatal(err)
			}
			file := g.file()
			out := g.refused(file+".sig", "-u", g.keys["p-256"].Fingerprint(), "--detach-sign", file)
			if !strings.Contains(out, "signing failed: Configuration error") || !strings.Contains(g.log(), test.record) {
				t.Errorf("gpg says\n%s\nthe bridge says\n%s", out, g.log())
			}
			if strings.Contains(g.log(), "99999999") {
				t.Error("the log shows the PIN")
			}
		})
	}
}
