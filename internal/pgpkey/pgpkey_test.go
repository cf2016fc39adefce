package pgpkey

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// softSigner is a Signer over a key in memory.
type softSigner struct{ crypto.Signer }

func (s softSigner) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.Sign(rand.Reader, digest, opts)
}

func rsaSigner(t testing.TB, bits int) softSigner {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return softSigner{key}
}

func ecSigner(t testing.TB, curve elliptic.Curve) softSigner {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return softSigner{key}
}

var created = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// TestGnuPGImportsEveryKindOfKey: gpg itself decides whether user id, self-signature, end and usage are as they should be.
func TestGnuPGImportsEveryKindOfKey(t *testing.T) {
	signers := map[string]softSigner{
		"RSA 2048": rsaSigner(t, 2048), "RSA 3072": rsaSigner(t, 3072),
		"P-256": ecSigner(t, elliptic.P256()), "P-384": ecSigner(t, elliptic.P384()), "P-521": ecSigner(t, elliptic.P521()),
	}
	expires := time.Now().Add(1000 * 24 * time.Hour).UTC().Truncate(time.Second)
	for name, signer := range signers {
		t.Run(name, func(t *testing.T) {
			key, err := Create(t.Context(), signer, Options{Name: "Demo Release", Email: "demo@example.com", Created: created, Expires: expires})
			if err != nil {
				t.Fatal(err)
			}
			pub := gpgImport(t, key)
			if pub.fingerprint != key.Fingerprint() || pub.created != created.Unix() || pub.expires != expires.Unix() {
				t.Errorf("gpg says %+v; the key says %s", pub, key.Fingerprint())
			}
			if pub.userID != "Demo Release <demo@example.com>" || !strings.Contains(pub.usage, "sc") && !strings.Contains(pub.usage, "cs") {
				t.Errorf("gpg says %+v", pub)
			}
			if pub.signatureClass != "13x" {
				t.Errorf("gpg --check-sigs shows class %q of the self-signature", pub.signatureClass)
			}
			again := parse(t, key)
			if again.Fingerprint() != key.Fingerprint() || !again.Expires().Equal(expires) || !again.Created().Equal(created) ||
				again.UserID() != key.UserID() || !again.IsOf(signer.Public()) {
				t.Errorf("read back it is %s, %s, %s", again.Fingerprint(), again.Expires(), again.UserID())
			}
		})
	}
}

// TestSecondRunGivesTheSameFingerprint, whatever else is different; another time gives another one.
func TestSecondRunGivesTheSameFingerprint(t *testing.T) {
	signer := ecSigner(t, elliptic.P256())
	make := func(o Options) string {
		key, err := Create(t.Context(), signer, o)
		if err != nil {
			t.Fatal(err)
		}
		return key.Fingerprint()
	}
	first := make(Options{Name: "a", Created: created})
	if again := make(Options{Email: "b@example.com", Created: created, Expires: time.Now().Add(time.Hour)}); again != first {
		t.Errorf("%s became %s", first, again)
	}
	if other := make(Options{Name: "a", Created: created.Add(time.Second)}); other == first {
		t.Error("another creation time gives the same fingerprint")
	}
}

// TestExtendedKeyReplacesTheOldOne in a keyring that knows it already: gpg takes the newest self-signature.
func TestExtendedKeyReplacesTheOldOne(t *testing.T) {
	signer := rsaSigner(t, 2048)
	ended := time.Now().Add(-time.Hour)
	key, err := Create(t.Context(), signer, Options{Name: "Demo", Created: created, Expires: ended, Now: created})
	if err != nil {
		t.Fatal(err)
	}
	home := gpgHome(t)
	if pub := importInto(t, home, key); pub.expires != ended.Unix() {
		t.Fatalf("gpg says %+v", pub)
	}
	later := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	armored, err := key.Armor()
	if err != nil {
		t.Fatal(err)
	}
	extended, err := Extend(t.Context(), signer, armored, later, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if !extended.Expires().Equal(later) || extended.Fingerprint() != key.Fingerprint() {
		t.Errorf("extended: %s, %s", extended.Expires(), extended.Fingerprint())
	}
	if pub := importInto(t, home, extended); pub.expires != later.Unix() {
		t.Errorf("gpg says %+v after the import, want the end %d", pub, later.Unix())
	}
	if pub := gpgImport(t, parse(t, extended)); pub.expires != later.Unix() || pub.userID != "Demo" {
		t.Errorf("a new keyring says %+v", pub)
	}
	if never, err := Extend(t.Context(), signer, armored, time.Time{}, time.Time{}); err != nil || !never.Expires().IsZero() {
		t.Errorf("without an end: %v, %v", never.Expires(), err)
	}
}

func TestExtendRefusesAnotherKey(t *testing.T) {
	key, err := Create(t.Context(), ecSigner(t, elliptic.P256()), Options{Name: "Demo", Created: created})
	if err != nil {
		t.Fatal(err)
	}
	data, err := key.Binary()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Extend(t.Context(), ecSigner(t, elliptic.P256()), data, time.Time{}, time.Time{}); !errors.Is(err, ErrOtherKey) {
		t.Errorf("Extend = %v", err)
	}
	if _, _, err := key.Signing(ecSigner(t, elliptic.P256()).Public()); !errors.Is(err, ErrOtherKey) {
		t.Errorf("Signing = %v", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	p256 := ecSigner(t, elliptic.P256())
	weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // the point of the case
	if err != nil {
		t.Skipf("this Go makes no weak keys: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx    context.Context
		signer Signer
		o      Options
		want   string
	}{
		"a weak key":       {t.Context(), softSigner{weak}, Options{Name: "a", Created: created}, "too short"},
		"P-224":            {t.Context(), ecSigner(t, elliptic.P224()), Options{Name: "a", Created: created}, "P-224"},
		"nobody":           {t.Context(), p256, Options{Created: created}, "user id"},
		"an end before":    {t.Context(), p256, Options{Name: "a", Created: created, Expires: created}, "not after"},
		"an end now past":  {t.Context(), p256, Options{Name: "a", Created: created, Expires: created.Add(time.Hour)}, "not after"},
		"an ended context": {ended, p256, Options{Name: "a", Created: created}, "canceled"},
	} {
		if _, err := Create(test.ctx, test.signer, test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.want)
		}
	}
}

// TestVectors compares fingerprints with those that gpg computed.
func TestVectors(t *testing.T) {
	curve := elliptic.P256()
	point := unhex(t, "0459ebf0b50f35983b4db9fcb948a3069aaa397cdda28d83113324dc655c01e2877b1a9e2daf3f4cbdb5b9d9fbb5a6a95c26247485de90c8646bc1feddd9445589")
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		t.Fatal(err)
	}
	packet, err := publicKeyPacket(public, time.Unix(1700000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got := (&Key{entity: entityOf(packet)}).Fingerprint(); got != "132FEB5A4DEE2879FB28E0803EA2E5E9D9B8C0FD" {
		t.Errorf("fingerprint %s", got)
	}
}

// gpgKey is what gpg shows of the one key of a keyring.
type gpgKey struct {
	fingerprint, userID, usage, signatureClass string
	created, expires                           int64
}

func gpgImport(t *testing.T, key *Key) gpgKey { return importInto(t, gpgHome(t), key) }

func gpgHome(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("gpg is not installed")
	}
	home, err := os.MkdirTemp("", "sk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	return home
}

func importInto(t *testing.T, home string, key *Key) gpgKey {
	t.Helper()
	data, err := key.Armor()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, "key.asc")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	gpg(t, home, "--import", file)
	var found gpgKey
	for line := range strings.Lines(gpg(t, home, "--with-colons", "--fixed-list-mode", "--check-sigs")) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		switch fields[0] {
		case "pub":
			found.created, found.expires, found.usage = number(t, fields[5]), number(t, fields[6]), fields[11]
		case "fpr":
			found.fingerprint = fields[9]
		case "uid":
			found.userID = fields[9]
		case "sig":
			if fields[1] == "!" { // gpg has verified it
				found.signatureClass = fields[10]
			}
		}
	}
	return found
}

func gpg(t *testing.T, home string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "gpg", append([]string{"--batch", "--no-autostart"}, args...)...)
	command.Env = append(os.Environ(), "GNUPGHOME="+home)
	var stderr strings.Builder
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("gpg %v: %v\n%s", args, err, stderr.String())
	}
	return string(output)
}

func parse(t *testing.T, key *Key) *Key {
	t.Helper()
	data, err := key.Binary()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
