package moduletest

import (
	"context"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signkit/internal/config"
	"signkit/internal/mockapi"
	"signkit/internal/signpath"
)

const gpgServiceConfig = `{"organizations":[{"name":"test","id":"generate",
 "users":[{"name":"ci","token":"generate"}],
 "certificates":[{"slug":"gpg-rsa","type":"Gpg","keyType":"Rsa","keySizeInBits":2048}],
 "projects":[{"slug":"demo","policies":[{"slug":"gpg-rsa","submitters":["ci"]}]}]}]}`

// pinentry answers as the program that asks a person for a PIN: gnupg-pkcs11-scd wants one.
const pinentry = `#!/bin/sh
echo OK
while read -r line; do
  case $line in
    GETPIN*) echo 'D CONFIG' ;;
    BYE*) echo OK; exit ;;
  esac
  echo OK
done
`

const includeDummies = "SIGNPATH_INCLUDE_DUMMY_X509CERTIFICATE_FOR_GPG_KEYS=true"

// gpgService is a service with one GPG key, and that key's OpenPGP form.
func gpgService(t *testing.T) (service *mockapi.Server, publicKey []byte) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "service.json")
	if err := os.WriteFile(file, []byte(gpgServiceConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := mockapi.LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	service, err = mockapi.Start(mockapi.Options{Listen: "127.0.0.1:0", StateDir: filepath.Join(dir, "state"), Config: cfg, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	t.Cleanup(func() {
		_ = service.Close(ctx)
		cancel()
	})
	settings, err := config.Load(service.Environment(), "/")
	if err != nil {
		t.Fatal(err)
	}
	client, err := signpath.New(settings, signpath.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	publicKey, err = client.GPGPublicKey(ctx, "demo", "gpg-rsa")
	if err != nil {
		t.Fatal(err)
	}
	service.ClearRequests()
	return service, publicKey
}

// scdHome is a GNUPGHOME whose agent signs through gnupg-pkcs11-scd and the module.
type scdHome struct {
	dir string
	env []string
}

// newSCDHome sets gnupg-pkcs11-scd up as its manual says: LEARN makes the stubs of the keys.
func newSCDHome(t *testing.T, service *mockapi.Server, publicKey []byte, settings ...string) *scdHome {
	t.Helper()
	program := need(t, "gnupg-pkcs11-scd")
	h := &scdHome{dir: t.TempDir()}
	h.env = append(service.Environment(), append(settings, "PATH="+os.Getenv("PATH"), "HOME="+h.dir, "GNUPGHOME="+h.dir, "LC_ALL=C",
		"SIGNPATH_LOG_CONSOLE_LEVEL=error", testID(t))...)
	for name, text := range map[string]string{
		"pinentry":              pinentry,
		"public.pgp":            string(publicKey),
		"gpg-agent.conf":        "scdaemon-program " + program + "\npinentry-program " + h.file("pinentry") + "\n",
		"gnupg-pkcs11-scd.conf": "providers signkit\nprovider-signkit-library " + shared.variant[0].module + "\n",
	} {
		if err := os.WriteFile(h.file(name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, end := range [][]string{{"gpgconf", "--kill", "gpg-agent"}, {"gpgconf", "--remove-socketdir"}} {
			if _, err := launch(end, h.env); err != nil {
				t.Error(err)
			}
		}
	})
	h.must(t, "gpg", "--batch", "--quiet", "--import", h.file("public.pgp"))
	h.must(t, "gpg-connect-agent", "LEARN", "/bye")
	return h
}

func (h *scdHome) file(name string) string { return filepath.Join(h.dir, name) }

func (h *scdHome) run(t *testing.T, args ...string) outcome {
	t.Helper()
	got, err := launch(args, h.env)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (h *scdHome) must(t *testing.T, args ...string) string {
	t.Helper()
	got := h.run(t, args...)
	if got.code != 0 {
		t.Fatalf("%s ended with %d:\n%s%s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
	}
	return got.stdout
}

// sign lets gpg sign a file with that text.
func (h *scdHome) sign(t *testing.T, text string) outcome {
	t.Helper()
	if err := os.WriteFile(h.file("file"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return h.run(t, "gpg", "--batch", "--yes", "--no-tty", "--local-user", "gpg-rsa@example.com",
		"--output", h.file("file.sig"), "--detach-sign", h.file("file"))
}

// TestGnuPGPKCS11SCD signs with a GPG key that it finds by the certificate which the setting adds, and that is the same for the
// next process. Without the setting it finds no key.
func TestGnuPGPKCS11SCD(t *testing.T) {
	for _, tool := range []string{"gnupg-pkcs11-scd", "gpg", "gpgv", "gpg-connect-agent", "gpgconf"} {
		need(t, tool)
	}
	t.Parallel()
	service, publicKey := gpgService(t)
	if got := newSCDHome(t, service, publicKey).sign(t, "hello"); got.code == 0 || !strings.Contains(got.stderr, "No secret key") {
		t.Fatalf("without the setting gpg ends with %d: %s", got.code, got.stderr)
	}
	h := newSCDHome(t, service, publicKey, includeDummies)
	if asked(service, "/SignHash") {
		t.Error("the certificate cost a signing request")
	}
	h.must(t, "gpg", "--batch", "--output", h.file("keyring.gpg"), "--export")
	for _, text := range []string{"hello", "hello again"} {
		if got := h.sign(t, text); got.code != 0 {
			t.Fatalf("gpg ended with %d: %s", got.code, got.stderr)
		}
		h.must(t, "gpgv", "--keyring", h.file("keyring.gpg"), h.file("file.sig"), h.file("file"))
		if got := h.run(t, "gpgv", "--keyring", h.file("keyring.gpg"), h.file("file.sig"), h.file("keyring.gpg")); got.code == 0 {
			t.Error("gpgv accepts the signature for another file")
		}
		h.must(t, "gpgconf", "--kill", "gpg-agent") // what it has learned is in the home's files
	}
	signed := 0
	for _, r := range service.Requests() {
		if strings.HasSuffix(r.Path, "/SignHash") {
			signed++
		}
	}
	if signed != 2 {
		t.Errorf("%d signing requests for two signatures", signed)
	}
}

// TestToolsReadTheUnsignedCertificate of a GPG key, and find it to be of the key and trusted by nobody.
func TestToolsReadTheUnsignedCertificate(t *testing.T) {
	t.Parallel()
	service, _ := gpgService(t)
	env := append(service.Environment(), "PATH="+os.Getenv("PATH"), "SIGNPATH_LOG_CONSOLE_LEVEL=error", includeDummies, testID(t))
	run := func(t *testing.T, args ...string) outcome {
		t.Helper()
		got, err := launch(args, env)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	module, dir := shared.variant[0].module, t.TempDir()
	der := filepath.Join(dir, "certificate.der")
	t.Run("openssl", func(t *testing.T) {
		got := run(t, need(t, "pkcs11-tool"), "--module", module, "--read-object", "--type", "cert", "--id", hex.EncodeToString([]byte("demo/gpg-rsa")), "--output-file", der)
		if got.code != 0 {
			t.Fatalf("pkcs11-tool ended with %d: %s", got.code, got.stderr)
		}
		shown := run(t, need(t, "openssl"), "x509", "-inform", "DER", "-in", der, "-noout", "-subject", "-issuer", "-pubkey")
		if shown.code != 0 || !strings.Contains(shown.stdout, "subject=CN = demo/gpg-rsa\nissuer=CN = demo/gpg-rsa\n") &&
			!strings.Contains(shown.stdout, "subject=CN=demo/gpg-rsa\nissuer=CN=demo/gpg-rsa\n") {
			t.Errorf("openssl ended with %d: %s%s", shown.code, shown.stdout, shown.stderr)
		}
		trusted := run(t, "openssl", "verify", "-check_ss_sig", "-CAfile", der, der)
		if trusted.code == 0 {
			t.Errorf("openssl trusts it: %s", trusted.stdout)
		}
	})
	t.Run("p11tool", func(t *testing.T) {
		got := run(t, need(t, "p11tool"), "--provider", module, "--login", "--set-pin", "CONFIG", "--list-all-certs")
		if got.code != 0 || !strings.Contains(got.stdout, "object=demo%2Fgpg-rsa;type=cert") || !strings.Contains(got.stdout, "X.509 Certificate (RSA-2048)") {
			t.Errorf("p11tool ended with %d: %s%s", got.code, got.stdout, got.stderr)
		}
	})
	t.Run("keytool", func(t *testing.T) {
		conf := filepath.Join(dir, "pkcs11.cfg")
		if err := os.WriteFile(conf, []byte("name = signkit\nlibrary = "+module+"\nslot = 1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := run(t, need(t, "keytool"), "-list", "-v", "-keystore", "NONE", "-storetype", "PKCS11", "-storepass", "CONFIG",
			"-addprovider", "SunPKCS11", "-providerarg", conf)
		if got.code != 0 || !strings.Contains(got.stdout, "PrivateKeyEntry") || !strings.Contains(got.stdout, "Owner: CN=demo/gpg-rsa") {
			t.Errorf("keytool ended with %d: %s%s", got.code, got.stdout, got.stderr)
		}
	})
}
