package doctor

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"signkit/internal/pgpkey"
)

func TestKeysThatVerifiersRefuseAreNamed(t *testing.T) {
	bits := func(n uint) *rsa.PublicKey { return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), n-1), E: 65537} }
	for _, c := range []struct {
		name   string
		public crypto.PublicKey
		gpg    bool
		state  State
		text   string
	}{
		{"RSA 1024", bits(1024), false, Problem, "RSA 1024: rpm from 4.20 on"},
		{"RSA 2047 of gpg", bits(2047), true, Problem, "RSA 2047"},
		{"RSA 2048 with a certificate", bits(2048), false, OK, "RSA 2048"},
		{"RSA 2048 of gpg", bits(2048), true, Warning, "until 2030"},
		{"RSA 3072 of gpg", bits(3072), true, OK, "RSA 3072"},
		{"P-256 with a certificate", &ecdsa.PublicKey{Curve: elliptic.P256()}, false, OK, "P-256"},
		{"P-384 of gpg", &ecdsa.PublicKey{Curve: elliptic.P384()}, true, Warning, "P-384: rpm without Sequoia"},
		{"Ed25519", ed25519.PublicKey{}, false, Warning, "ed25519"},
	} {
		e, found := recorded(Patient{})
		e.strength("demo/x", c.public, c.gpg)
		f := one(t, *found)
		if f.State != c.state || !strings.Contains(f.Text, c.text) || (f.Fix == "") != (c.state == OK) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// local is a key pair of the test, for keys as the service has them.
type local struct{ crypto.Signer }

func (l local) SignContext(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return l.Sign(rand.Reader, digest, opts)
}

func TestGPGPublicKeysOfTheServiceAreExamined(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	create := func(created, expires time.Time) []byte {
		key, err := pgpkey.Create(t.Context(), local{private}, pgpkey.Options{Name: "Test", Created: created, Expires: expires, Now: created})
		if err != nil {
			t.Fatal(err)
		}
		data, err := key.Armor()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	old, err := os.ReadFile("testdata/sha1.asc")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(old))
	if err != nil {
		t.Fatal(err)
	}
	year := 365 * 24 * time.Hour
	for _, c := range []struct {
		name   string
		public crypto.PublicKey
		data   []byte
		state  State // of the first finding
		text   string
		fix    string
	}{
		{"good", private.Public(), create(now.Add(-year), now.Add(year)), OK, "until ", ""},
		{"expired", private.Public(), create(now.Add(-year), now.Add(-time.Hour)), Problem, "expired on ", "signkit gpg extend demo/x"},
		{"of another pair", ring[0].PrimaryKey.PublicKey, create(now.Add(-year), time.Time{}), Problem, "not that of the signing key", "signkit gpg create demo/x"},
		{"no key at all", private.Public(), []byte("<html>"), Problem, "OpenPGP", "signkit gpg create demo/x"},
		{"with SHA-1", ring[0].PrimaryKey.PublicKey, old, Problem, "SHA-1: apt of Debian 13", "signkit gpg extend demo/x"},
	} {
		e, found := recorded(Patient{})
		e.gpgPublicKey("demo/x", c.public, c.data)
		if len(*found) == 0 {
			t.Errorf("%s: nothing found", c.name)
			continue
		}
		f := (*found)[0]
		if f.State != c.state || !strings.Contains(f.Text, c.text) || !strings.Contains(f.Fix, c.fix) || (f.Fix == "") != (c.fix == "") {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}
