package pgpkey

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signkit/internal/key"
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
		signer key.Signer
		o      Options
		want   string
	}{
		"a weak key":       {t.Context(), softSigner{weak}, Options{Name: "a", Created: created}, "too short"},
		"P-224":            {t.Context(), ecSigner(t, elliptic.P224()), Options{Name: "a", Created: created}, "P-224"},
		"nobody":           {t.Context(), p256, Options{Created: created}, "user id"},
		"a bracket":        {t.Context(), p256, Options{Name: "a <b>", Created: created}, "angle brackets"},
		"two lines":        {t.Context(), p256, Options{Name: "a\nb", Created: created}, "one line"},
		"no UTF-8":         {t.Context(), p256, Options{Name: "\xff", Created: created}, "UTF-8"},
		"a long name":      {t.Context(), p256, Options{Name: strings.Repeat("a", 1001), Created: created}, "1000 bytes"},
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
	point := unhex(t, "0459ebf0b50f35983b4db9fcb948a3069aaa397cdda28d83113324dc655c01e2877b1a9e2daf3f4cbdb5b9d9fbb5a6a95c26247485de90c8646bc1feddd9445589")
	p256, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	for want, public := range map[string]crypto.PublicKey{
		"132FEB5A4DEE2879FB28E0803EA2E5E9D9B8C0FD": p256,
		"B38382BF186A1F2AA109C859C9E97D4F40A3BB7D": &rsa.PublicKey{N: new(big.Int).SetBytes(unhex(t, rsaVector)), E: 65537},
	} {
		packet, err := publicKeyPacket(public, time.Unix(1700000000, 0))
		if err != nil {
			t.Fatal(err)
		}
		if got := fingerprint(packet); got != want {
			t.Errorf("fingerprint %s, want %s", got, want)
		}
	}
}

const rsaVector = "00bab01a48b91cc6e80602749376398c44b87c3e1dc0e21804f0a7dd1f133996ee5a46e0992f18a9c3014ebb0a47cf23" +
	"27a4979d14fa1cc8190a0d7fbd899dcdb976c5acb0e3bf67982bd1d8211bf5c83651bb7eeda3c12d1a1ae43ba125fdd3" +
	"96c5bae9fc83c5c245529cfbfbb4ded4cd9ae71ed84850bcdd496d590a9254a10cb6d5ee10bfdddf2cb944a994fae4b9" +
	"d3f471f65724cac8ce8a1830a947a4e958a477b503d9d665886dcfdfa370ad5e0993e5f35dc666b495d3a579e2a2df7e" +
	"da5bc0dde91324a69bd9d34107b561f844e39daea85259dd1682221473bb89ee926b439300d732ce787afe14b8f8381b" +
	"ad42897517c73b77cb9fd93864d80045700a2717280d4db20b4a1bee6acfa6e170eb931c77cd877635c32d834b68bed8" +
	"30b815e98b9852e46131a0bb4c82b0912fe900804044c4507a188a6893277fb5bdde0b770769425bcba285359332eb3f" +
	"a7bcb74641abcb5a1848ff092b4900da9f3243ae57ebb19b8de055133eee07661468e2a90505d49376ae6bd1a42acf05" +
	"0d"

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
	command := exec.CommandContext(limited(t), "gpg", append([]string{"--batch", "--no-autostart"}, args...)...)
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
