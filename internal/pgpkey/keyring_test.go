package pgpkey

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// TestKeysOfTheirTime: GnuPG makes keys and revokes them; what is left verifies a signature at
// the given time, and nothing else.
func TestKeysOfTheirTime(t *testing.T) {
	home := gpgHome(t)
	make := func(name, expires string) string {
		gpgWithAgent(t, home, "--quick-generate-key", name, "nistp256", "cert,sign", expires)
		for line := range strings.Lines(gpg(t, home, "--with-colons", "--list-keys", "="+name)) {
			if fields := strings.Split(line, ":"); fields[0] == "fpr" {
				return fields[9]
			}
		}
		t.Fatalf("no key of %s", name)
		return ""
	}
	good, ends, gone := make("Good", "never"), make("Ends", "2y"), make("Gone", "never")
	gpgWithAgent(t, home, "--quick-add-key", good, "rsa2048", "sign", "1y")
	gpgWithAgent(t, home, "--quick-add-key", good, "rsa2048", "sign", "never")
	importRevocation(t, home, gone)
	keys, err := ParseAll([]byte(gpg(t, home, "--armor", "--export", good) + gpg(t, home, "--armor", "--export", ends, gone)))
	if err != nil || len(keys) != 3 {
		t.Fatalf("%d keys, %v; want 3", len(keys), err)
	}
	year := 365 * 24 * time.Hour
	tests := []struct {
		name, fingerprint string
		at                time.Time
		expired           bool // counts
		subkeys           int
		want              string // in the error
	}{
		{"now", good, time.Now(), false, 2, ""},
		{"a subkey has ended", good, time.Now().Add(2 * year), false, 1, ""},
		{"before the end", ends, time.Now().Add(year), false, 0, ""},
		{"after the end", ends, time.Now().Add(3 * year), false, 0, "expired on "},
		{"revoked", gone, time.Now(), false, 0, "has been revoked"},
		{"a subkey has ended, and counts", good, time.Now().Add(2 * year), true, 2, ""},
		{"after the end, and it counts", ends, time.Now().Add(3 * year), true, 0, ""},
		{"revoked, and ended keys count", gone, time.Now(), true, 0, "has been revoked"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			key := keys[slices.IndexFunc(keys, func(k *Key) bool { return k.Fingerprint() == test.fingerprint })]
			current, err := key.At(test.at, test.expired)
			if test.want != "" {
				var ended *EndedError
				if !errors.As(err, &ended) || !strings.Contains(err.Error(), test.fingerprint+" "+test.want) {
					t.Errorf("At = %v, want %s", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := len(current.entity.Subkeys); got != test.subkeys {
				t.Errorf("%d subkeys, want %d", got, test.subkeys)
			}
		})
	}
}

// TestCopiesOfAKeyAreOneKey, with all that they say, in whatever order: an older copy does not undo a revocation, nor a new end.
func TestCopiesOfAKeyAreOneKey(t *testing.T) {
	home := gpgHome(t)
	gpgWithAgent(t, home, "--quick-generate-key", "Demo", "nistp256", "cert,sign", "never")
	var fingerprint string
	for line := range strings.Lines(gpg(t, home, "--with-colons", "--list-keys")) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" && fingerprint == "" {
			fingerprint = fields[9]
		}
	}
	export := func() string { return gpg(t, home, "--armor", "--export") }
	old := export()
	gpgWithAgent(t, home, "--quick-add-key", fingerprint, "rsa2048", "sign", "never")
	gpgWithAgent(t, home, "--quick-add-uid", fingerprint, "Second")
	grown := export()
	importRevocation(t, home, fingerprint)
	revoked := export()
	for name, test := range map[string]struct {
		copies  string
		revoked bool
		ids     int
	}{
		"one": {old, false, 1}, "twice the same": {grown + grown, false, 2},
		"a newer one": {old + grown, false, 2}, "an older one": {grown + old, false, 2},
		"revoked last": {old + revoked, true, 0}, "revoked first": {revoked + old, true, 0},
	} {
		keys, err := ParseAll([]byte(test.copies))
		if err != nil || len(keys) != 1 {
			t.Errorf("%s: %d keys, %v; want 1", name, len(keys), err)
			continue
		}
		current, err := keys[0].At(time.Now(), false)
		if ended, ok := errors.AsType[*EndedError](err); test.revoked && (!ok || !ended.Revoked) || !test.revoked && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (len(current.ids) != test.ids || len(current.KeyIDs()) != test.ids) { // a subkey came with the second
			t.Errorf("%s: user ids %q, keys %q; want %d of each", name, current.ids, current.KeyIDs(), test.ids)
		}
	}
}

// importRevocation revokes a key with the certificate that gpg made along with it.
func importRevocation(t *testing.T, home, fingerprint string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(home, "openpgp-revocs.d", fingerprint+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	// A colon guards the block against being imported by accident.
	file := filepath.Join(home, "revocation.asc")
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), ":-----BEGIN", "-----BEGIN", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	gpg(t, home, "--import", file)
}

func TestParseAllRefusesWhatIsNoPublicKey(t *testing.T) {
	for name, test := range map[string]struct{ data, want string }{
		"nothing":   {"", "no OpenPGP public key"},
		"text":      {"hello", "reading the OpenPGP public keys"},
		"signature": {"-----BEGIN PGP SIGNATURE-----\n\nwsB=\n-----END PGP SIGNATURE-----\n", "SIGNATURE"},
	} {
		if keys, err := ParseAll([]byte(test.data)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %d keys, %v; want an error with %q", name, len(keys), err, test.want)
		}
	}
}

// TestOddKeysAreLeftOut of a keyring, as gpgv does, unless no other is there.
func TestOddKeysAreLeftOut(t *testing.T) {
	home := gpgHome(t)
	gpgWithAgent(t, home, "--quick-generate-key", "Good", "nistp256", "cert,sign", "never")
	good := []byte(gpg(t, home, "--export", "Good"))
	fingerprint := ""
	for line := range strings.Lines(gpg(t, home, "--with-colons", "--list-keys")) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			fingerprint = fields[9]
		}
	}
	gpgWithAgent(t, home, "--quick-add-key", fingerprint, "rsa2048", "sign", "never")
	packets := packet.NewOpaqueReader(strings.NewReader(gpg(t, home, "--export", "Good")))
	var odd bytes.Buffer // the key without the signature of its subkey, which is the last packet
	for p, err := packets.Next(); err == nil; {
		last := p
		if p, err = packets.Next(); err == nil {
			if err := last.Serialize(&odd); err != nil {
				t.Fatal(err)
			}
		}
	}
	private := []byte(gpg(t, home, "--export-secret-keys", "Good"))
	for name, test := range map[string]struct {
		data []byte
		keys int
		want string
	}{
		"before a good one": {slices.Concat(odd.Bytes(), good), 1, ""},
		"behind a good one": {slices.Concat(good, odd.Bytes()), 1, ""},
		"alone":             {odd.Bytes(), 0, "subkey packet not followed by signature"},
		"a private one":     {slices.Concat(good, private), 0, "private OpenPGP key"},
	} {
		keys, err := ParseAll(test.data)
		if len(keys) != test.keys || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %d keys, %v; want %d, %q", name, len(keys), err, test.keys, test.want)
		}
	}
}
