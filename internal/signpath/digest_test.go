package signpath

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"testing"
)

// TestFitDigestKeepsTheInteger signs what the service would get and verifies with the
// caller's own digest, for every length that can matter.
func TestFitDigestKeepsTheInteger(t *testing.T) {
	lengths := map[string][]int{"p-256": {32}, "p-384": {48}, "p-521": {64, 66}}
	for name, allowed := range lengths {
		key := testKeys()[name].(*ecdsa.PrivateKey)
		for n := 1; n <= 80; n++ {
			for _, first := range []byte{0, 1, 0x80, 0xff} {
				digest := bytes.Repeat([]byte{0xa5}, n)
				digest[0] = first
				sent := fitDigest(digest, key.Params().BitSize)
				if len(sent) != allowed[0] && len(sent) != allowed[len(allowed)-1] {
					t.Fatalf("%s, %d bytes: %d bytes are sent", name, n, len(sent))
				}
				if leftmost(sent, key).Cmp(leftmost(digest, key)) != 0 {
					t.Fatalf("%s, digest of %d bytes with first byte %#x: %x is another integer", name, n, first, sent)
				}
				if n > 1 && n < 80 && n != 20 && (n < 28 || n > 33) && (n < 47 || n > 49) && (n < 63 || n > 67) {
					continue // a signature is made where lengths of hashes and curves are near
				}
				signature, err := ecdsa.SignASN1(rand.Reader, key, sent)
				if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest, signature) {
					t.Fatalf("%s, digest of %d bytes with first byte %#x: signature over %x does not verify", name, n, first, sent)
				}
			}
		}
	}
}

// leftmost is the integer that ECDSA signs: as many bits of the digest, from the left, as the order has (FIPS 186-5, section 6.4.1).
func leftmost(digest []byte, key *ecdsa.PrivateKey) *big.Int {
	e := new(big.Int).SetBytes(digest)
	return e.Rsh(e, uint(max(0, 8*len(digest)-key.Params().N.BitLen())))
}

func TestFitDigestForms(t *testing.T) {
	for _, test := range []struct {
		name         string
		bits, n      int
		want         int
		front, whole bool // zeros in front; all of the digest is in it
	}{
		{"SHA-1 on P-256", 256, 20, 32, true, true},
		{"SHA-256 on P-256", 256, 32, 32, false, true},
		{"SHA-384 on P-256", 256, 48, 32, false, false},
		{"SHA-256 on P-384", 384, 32, 48, true, true},
		{"SHA-512 on P-384", 384, 64, 48, false, false},
		{"SHA-256 on P-521", 521, 32, 64, true, true},
		{"SHA-512 on P-521", 521, 64, 64, false, true},
	} {
		digest := bytes.Repeat([]byte{0xee}, test.n)
		sent := fitDigest(digest, test.bits)
		if len(sent) != test.want || test.front != (sent[0] == 0) || test.whole != bytes.HasSuffix(sent, digest) {
			t.Errorf("%s: %x", test.name, sent)
		}
	}
}

func TestPlanRefusesWhatTheServiceCannotDo(t *testing.T) {
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	rsaKey, ecKey := testKeys()["rsa"].Public(), testKeys()["p-256"].Public()
	for _, test := range []struct {
		name   string
		public crypto.PublicKey
		size   int
		opts   crypto.SignerOpts
		want   error
	}{
		{"RSA without a hash", rsaKey, 32, crypto.Hash(0), ErrUnsupported},
		{"RSA with no options", rsaKey, 32, nil, ErrUnsupported},
		{"RSA with SHA-224", rsaKey, 28, crypto.SHA224, ErrUnsupported},
		{"RSA with SHA3", rsaKey, 32, crypto.SHA3_256, ErrUnsupported},
		{"RSA short digest", rsaKey, 31, crypto.SHA256, ErrDigestLength},
		{"RSA DigestInfo", rsaKey, 51, crypto.SHA256, ErrDigestLength},
		{"RSA with ECDSA options", rsaKey, 32, ECDSAOptions{Hash: crypto.SHA256}, ErrUnsupported},
		{"PSS salt 20", rsaKey, 32, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 20}, ErrUnsupported},
		{"PSS salt auto", rsaKey, 32, &rsa.PSSOptions{Hash: crypto.SHA256}, ErrUnsupported},
		{"PSS MD5", rsaKey, 16, &rsa.PSSOptions{Hash: crypto.MD5, SaltLength: 16}, ErrUnsupported},
		{"PSS without a hash", rsaKey, 32, &rsa.PSSOptions{SaltLength: 32}, ErrUnsupported},
		{"PSS SHA-512 with RSA-1024", &small.PublicKey, 64, &rsa.PSSOptions{Hash: crypto.SHA512, SaltLength: 64}, ErrUnsupported},
		{"ECDSA with PSS options", ecKey, 32, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 32}, ErrUnsupported},
		{"ECDSA empty digest", ecKey, 0, crypto.Hash(0), ErrDigestLength},
		{"ECDSA digest of another hash", ecKey, 32, crypto.SHA384, ErrDigestLength},
		{"ECDSA unknown hash", ecKey, 32, crypto.Hash(99), ErrUnsupported},
		{"RSA unknown hash", rsaKey, 32, crypto.Hash(99), ErrUnsupported},
		{"unknown key", "key", 32, crypto.SHA256, ErrUnsupported},
	} {
		if r, err := plan(test.public, make([]byte, test.size), test.opts); !errors.Is(err, test.want) {
			t.Errorf("%s: %+v, %v", test.name, r, err)
		}
	}
}

func TestPlanAcceptsBothSpellingsOfTheSalt(t *testing.T) {
	for _, salt := range []int{rsa.PSSSaltLengthEqualsHash, 48} {
		if _, err := plan(testKeys()["rsa"].Public(), make([]byte, 48), &rsa.PSSOptions{Hash: crypto.SHA384, SaltLength: salt}); err != nil {
			t.Error(err)
		}
	}
}
