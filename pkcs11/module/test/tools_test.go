package moduletest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// need finds a tool of this machine or skips.
func need(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Skipf("there is no %s here", tool)
	}
	return path
}

// needEngine finds openssl and skips where it has no engine for PKCS#11.
func needEngine(t *testing.T) string {
	t.Helper()
	tool := need(t, "openssl")
	if err := command(tool, "engine", "pkcs11"); err != nil {
		t.Skipf("openssl has no engine pkcs11 here: %.200v", err)
	}
	return tool
}

// TestPKCS11ToolFindsNoFault runs OpenSC's own test of a module.
func TestPKCS11ToolFindsNoFault(t *testing.T) {
	tool := need(t, "pkcs11-tool")
	t.Parallel()
	got := shared.run(t, host{
		args: []string{tool, "--module", shared.variant[0].module, "--login", "--pin", "CONFIG", "--test"},
		env:  []string{"SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true", "SIGNPATH_LOG_CONSOLE_LEVEL=none"},
	})
	if got.code != 0 || !strings.Contains(got.stdout, "No errors") || !strings.Contains(got.stdout, "SHA256-RSA-PKCS: OK") {
		t.Errorf("ended with %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// TestPKCS11ToolSigns a digest and a file by the key's id.
func TestPKCS11ToolSigns(t *testing.T) {
	tool := need(t, "pkcs11-tool")
	t.Parallel()
	dir := t.TempDir()
	digest := sha256.Sum256([]byte("hello"))
	for name, data := range map[string][]byte{"digest": digest[:], "file": []byte("hello"), "large": []byte(strings.Repeat("hello", 100000))} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ key, mechanism, input, text string }{
		{"demo/p-256", "ECDSA", "digest", "hello"},
		{"demo/p-256", "ECDSA-SHA256", "file", "hello"},
		{"demo/rsa-2048", "SHA256-RSA-PKCS", "file", "hello"},
		{"demo/rsa-2048", "SHA256-RSA-PKCS", "large", strings.Repeat("hello", 100000)},
	} {
		t.Run(test.mechanism+"/"+test.input, func(t *testing.T) {
			out := filepath.Join(dir, "signature")
			got := shared.run(t, host{args: []string{tool, "--module", shared.variant[0].module, "--login", "--pin", "CONFIG", "--sign", "-m", test.mechanism,
				"--id", hex.EncodeToString([]byte(test.key)), "-i", filepath.Join(dir, test.input), "-o", out}, env: []string{"SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true"}})
			signature, err := os.ReadFile(out)
			want := sha256.Sum256([]byte(test.text))
			if err != nil || got.code != 0 || !valid(shared.keys[test.key], want[:], signature) {
				t.Errorf("ended with %d, %v: %s", got.code, err, got.stderr)
			}
		})
	}
}

// TestP11tool lists every object and signs a test text.
func TestP11tool(t *testing.T) {
	tool := need(t, "p11tool")
	t.Parallel()
	run := func(args ...string) outcome {
		common := []string{tool, "--provider", shared.variant[0].module, "--login", "--set-pin", "CONFIG"}
		return shared.run(t, host{args: append(common, args...)})
	}
	listed := run("--list-all")
	for _, want := range []string{"object=demo%2Frsa-2048;type=private", "object=demo%2Fp-256;type=public", "object=demo%2Fp-256;type=cert"} {
		if listed.code != 0 || !strings.Contains(listed.stdout, want) {
			t.Errorf("ended with %d, no %q in\n%s%s", listed.code, want, listed.stdout, listed.stderr)
		}
	}
	for _, key := range []string{"rsa-2048", "p-256"} {
		signed := run("--test-sign", "pkcs11:object=demo%2F"+key+";type=private")
		if signed.code != 0 || !strings.Contains(signed.stdout+signed.stderr, "ok") {
			t.Errorf("%s: ended with %d:\n%s%s", key, signed.code, signed.stdout, signed.stderr)
		}
	}
}

// ctypesHost signs from Python, which forks after the start: the child starts anew.
const ctypesHost = `
import ctypes, os, sys
p11 = ctypes.CDLL(sys.argv[1])
U = ctypes.c_ulong
def ok(rv): assert rv == 0, hex(rv)
class Attribute(ctypes.Structure): _fields_ = [("type", U), ("value", ctypes.c_char_p), ("length", U)]
class Mechanism(ctypes.Structure): _fields_ = [("mechanism", U), ("parameter", ctypes.c_void_p), ("length", U)]
def sign():
    ok(p11.C_Initialize(None))
    session, key, count = U(), U(), U()
    ok(p11.C_OpenSession(U(1), U(4), None, None, ctypes.byref(session)))
    ok(p11.C_Login(session, U(1), b"CONFIG", U(6)))
    name = sys.argv[2].encode()
    template = (Attribute * 2)(Attribute(0, bytes(U(3)), 8), Attribute(0x102, name, len(name)))
    ok(p11.C_FindObjectsInit(session, template, U(2)))
    ok(p11.C_FindObjects(session, ctypes.byref(key), U(1), ctypes.byref(count)))
    assert count.value == 1
    ok(p11.C_FindObjectsFinal(session))
    ok(p11.C_SignInit(session, ctypes.byref(Mechanism(0x1044, None, 0)), key))
    signature, length = ctypes.create_string_buffer(512), U(512)
    ok(p11.C_Sign(session, b"hello", U(5), signature, ctypes.byref(length)))
    print("signature", signature.raw[:length.value].hex(), flush=True)
sign()
child = os.fork()
if child == 0:
    sign()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
ok(p11.C_Finalize(None))
`

func TestPython(t *testing.T) {
	python := need(t, "python3")
	t.Parallel()
	shared.mustRun(t, host{args: []string{python, "-c", ctypesHost, shared.variant[0].module, "demo/p-256"}}, "demo/p-256", "hello", 2)
}

// TestOpenSSLEngine signs with this machine's openssl and libp11, and lets plain openssl verify.
func TestOpenSSLEngine(t *testing.T) {
	tool := needEngine(t)
	t.Parallel()
	dir := t.TempDir()
	file, signature := filepath.Join(dir, "file"), filepath.Join(dir, "signature")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, pin := range []string{"CONFIG", shared.service.OrganizationID() + ":wrong"} {
		_ = os.Remove(signature)
		got := shared.run(t, host{
			args: []string{tool, "dgst", "-engine", "pkcs11", "-keyform", "engine", "-sha256", "-out", signature,
				"-sign", "pkcs11:object=demo%2Frsa-2048;type=private;pin-value=" + pin, file},
			env: []string{"PKCS11_MODULE_PATH=" + shared.variant[0].module},
		})
		made, err := os.ReadFile(signature)
		digest := sha256.Sum256([]byte("hello"))
		if pin != "CONFIG" {
			if got.code == 0 || len(made) != 0 {
				t.Errorf("a wrong PIN signs: %d, %v", got.code, err)
			}
			continue
		}
		if got.code != 0 || !valid(shared.keys["demo/rsa-2048"], digest[:], made) {
			t.Errorf("ended with %d: %s", got.code, got.stderr)
		}
	}
}
