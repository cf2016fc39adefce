package pgpkey

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgpecdsa "github.com/ProtonMail/go-crypto/openpgp/ecdsa"
)

// gpgMade is a key that gpg has made, with its private key.
func gpgMade(t *testing.T, home, algorithm, usage string) (softSigner, string) {
	t.Helper()
	gpgWithAgent(t, home, "--quick-generate-key", "First <first@example.com>", algorithm, usage, "2030-01-01")
	secret := gpgWithAgent(t, home, "--export-secret-keys")
	keys, err := openpgp.ReadKeyRing(strings.NewReader(secret))
	if err != nil || len(keys) != 1 {
		t.Fatalf("gpg --export-secret-keys: %d keys, %v", len(keys), err)
	}
	return softSigner{signerOf(t, keys[0].PrivateKey.PrivateKey)}, fmt.Sprintf("%X", keys[0].PrimaryKey.Fingerprint)
}

func signerOf(t *testing.T, key any) crypto.Signer {
	t.Helper()
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key
	case *pgpecdsa.PrivateKey:
		for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
			size := (curve.Params().BitSize + 7) / 8
			if key.D.BitLen() > 8*size {
				continue
			}
			private, err := ecdsa.ParseRawPrivateKey(curve, key.D.FillBytes(make([]byte, size)))
			if err == nil && private.X.Cmp(key.X) == 0 { //nolint:staticcheck // only compared
				return private
			}
		}
	}
	t.Fatalf("gpg made a private key of type %T", key)
	return nil
}

// bound ends a gpg that hangs. Making a key can take long on a busy machine.
const bound = 3 * time.Minute

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	t.Cleanup(cancel)
	return ctx
}

// gpgWithAgent runs gpg with an agent of its own, which ends with the test.
func gpgWithAgent(t *testing.T, home string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("gpg-agent"); err != nil {
		t.Skip("gpg-agent is not installed")
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound) // the test's own has ended
		defer cancel()
		for _, what := range [][]string{{"--kill", "all"}, {"--remove-socketdir"}} {
			end := exec.CommandContext(ctx, "gpgconf", what...)
			end.Env = append(os.Environ(), "GNUPGHOME="+home)
			_ = end.Run()
		}
	})
	command := exec.CommandContext(limited(t), "gpg", append([]string{"--batch", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	command.Env = append(os.Environ(), "GNUPGHOME="+home)
	var stderr strings.Builder
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("gpg %v: %v\n%s", args, err, stderr.String())
	}
	return string(output)
}

// TestExtendKeepsWhatGnuPGMade: user ids in their order, subkeys, usage and preferences; another
// keyring that has the old key takes the new end.
func TestExtendKeepsWhatGnuPGMade(t *testing.T) {
	for _, c := range []struct{ algorithm, usage string }{{"rsa3072", "cert,sign,auth"}, {"nistp256", "cert"}, {"nistp521", "cert,sign"}} {
		t.Run(c.algorithm, func(t *testing.T) {
			home, verifier := gpgHome(t), gpgHome(t)
			signer, fpr := gpgMade(t, home, c.algorithm, c.usage)
			gpgWithAgent(t, home, "--quick-add-key", fpr, "rsa2048", "sign", "2030-01-01")
			gpgWithAgent(t, home, "--quick-add-key", fpr, "rsa2048", "encr", "never")
			gpgWithAgent(t, home, "--quick-add-uid", fpr, "Second (with a comment) <second@example.com>")
			gpgWithAgent(t, home, "--quick-add-uid", fpr, "Gone <gone@example.com>")
			gpgWithAgent(t, home, "--quick-revoke-uid", fpr, "Gone <gone@example.com>")
			gpgWithAgent(t, home, "--quick-set-primary-uid", fpr, "Second (with a comment) <second@example.com>")
			exported := []byte(gpg(t, home, "--export", "--export-options", "export-clean"))
			before := listing(t, verifier, exported)

			later := time.Date(2040, 1, 2, 3, 4, 5, 0, time.UTC)
			key, err := Extend(t.Context(), signer, exported, later, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if key.UserID() != "Second (with a comment) <second@example.com>" || !key.Expires().Equal(later) || key.Fingerprint() != fpr {
				t.Errorf("extended: %q until %s, %s", key.UserID(), key.Expires(), key.Fingerprint())
			}
			data, err := key.Binary()
			if err != nil {
				t.Fatal(err)
			}
			after := listing(t, verifier, data)
			fresh := listing(t, gpgHome(t), data)
			if !slices.Equal(after, fresh) {
				t.Errorf("a keyring that knew the key has\n%s\na new one\n%s", strings.Join(after, "\n"), strings.Join(fresh, "\n"))
			}
			want := strings.Split(strings.Replace(strings.Join(before, "\n"), ":1893456000:", fmt.Sprintf(":%d:", later.Unix()), 1), "\n")
			if !slices.Equal(after, want) {
				t.Errorf("before\n%s\nafter\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
		})
	}
}

// listing imports a key and shows what gpg makes of it: keys with ends and usage, user ids,
// their preferences; no times of signatures.
func listing(t *testing.T, home string, key []byte) []string {
	t.Helper()
	file := filepath.Join(home, "in.pgp")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	gpg(t, home, "--import", file)
	var lines []string
	noTime := regexp.MustCompile(`^(uid:[^:]*:[^:]*:[^:]*:[^:]*:)\d*:`)
	for line := range strings.Lines(gpg(t, home, "--with-colons", "--fixed-list-mode", "--list-options", "show-uid-validity", "--list-keys")) {
		switch line[:3] {
		case "pub", "sub", "uid", "fpr":
			// "pub" ends of 2030-01-01 differ by the time of day that gpg chose: noon.
			line = strings.ReplaceAll(noTime.ReplaceAllString(strings.TrimSpace(line), "$1:"), ":1893499200:", ":1893456000:")
			lines = append(lines, line)
		}
	}
	prefs := exec.CommandContext(limited(t), "gpg", "--batch", "--no-autostart", "--command-fd", "0", "--status-fd", "2", "--edit-key", fingerprintIn(lines), "showpref", "quit")
	prefs.Env = append(os.Environ(), "GNUPGHOME="+home)
	out, err := prefs.Output()
	if err != nil {
		t.Fatalf("gpg --edit-key: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "Cipher:") || strings.Contains(line, "Digest:") || strings.Contains(line, "Features:") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func fingerprintIn(lines []string) string {
	for _, line := range lines {
		if strings.HasPrefix(line, "fpr:") {
			return strings.Split(line, ":")[9]
		}
	}
	return ""
}

// TestPacketsAreThese compares with what gpg --list-packets shows of a key of each kind.
func TestPacketsAreThese(t *testing.T) {
	for name, signer := range map[string]softSigner{"p-384": ecSigner(t, elliptic.P384()), "rsa-2048": rsaSigner(t, 2048)} {
		key, err := Create(t.Context(), signer, Options{Name: "Demo", Email: "demo@example.com", Created: created,
			Now: created, Expires: time.Date(2094, 5, 6, 7, 8, 9, 0, time.UTC)})
		if err != nil {
			t.Fatal(err)
		}
		data, err := key.Armor()
		if err != nil {
			t.Fatal(err)
		}
		home := gpgHome(t)
		file := filepath.Join(home, "key.asc")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got := anonymous(gpg(t, home, "--list-packets", file), key.Fingerprint())
		golden := filepath.Join("testdata", "packets-"+name+".txt")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: gpg --list-packets shows\n%s\nwant %s (UPDATE_GOLDEN=1 writes it)\n%s", name, got, golden, want)
		}
	}
}

// anonymous takes out what is different with every key.
func anonymous(packets, fingerprint string) string {
	packets = strings.ReplaceAll(packets, fingerprint, "FINGERPRINT")
	packets = strings.ReplaceAll(packets, fingerprint[24:], "KEYID")
	packets = regexp.MustCompile(`begin of digest .*`).ReplaceAllString(packets, "begin of digest XX XX")
	packets = regexp.MustCompile(`data: \[\d+ bits\]`).ReplaceAllString(packets, "data: [N bits]")
	packets = regexp.MustCompile(`(?m)^# off=\d+ ctb=(\w+) tag=(\d+) .*$`).ReplaceAllString(packets, "# tag=$2")
	return regexp.MustCompile(`(expires after )\S+`).ReplaceAllString(packets, "${1}X")
}

// TestWritesWhatGnuPGExports, byte for byte: nothing is lost that is not understood.
func TestWritesWhatGnuPGExports(t *testing.T) {
	for _, algorithm := range []string{"rsa2048", "nistp384"} {
		home := gpgHome(t)
		_, fpr := gpgMade(t, home, algorithm, "cert,sign")
		gpgWithAgent(t, home, "--quick-add-uid", fpr, "Second <second@example.com>")
		gpgWithAgent(t, home, "--quick-add-key", fpr, "rsa2048", "sign", "2030-01-01")
		for _, option := range []string{"--armor", "--no-armor"} {
			exported := gpg(t, home, option, "--no-emit-version", "--export")
			key, err := Parse([]byte(exported))
			if err != nil {
				t.Fatal(err)
			}
			write := map[string]func() ([]byte, error){"--armor": key.Armor, "--no-armor": key.Binary}[option]
			if written, err := write(); err != nil || string(written) != exported {
				t.Errorf("%s %s: %v; gpg has\n%s\nhere it is\n%s", algorithm, option, err, exported, written)
			}
		}
	}
}
