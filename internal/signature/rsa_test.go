package signature

import (
	"bytes"
	"crypto"
	_ "crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/hex"
	"fmt"
	"math/big"
	"testing"
)

// agree checks that this package and crypto/rsa say the same, and that it is what is wanted.
func agree(t *testing.T, name string, public *rsa.PublicKey, hash crypto.Hash, digest, signature []byte, want bool) {
	t.Helper()
	standard := rsa.VerifyPKCS1v15(public, hash, digest, signature) == nil
	if got := VerifyPKCS1v15(public, hash, digest, signature); got != want || standard != want {
		t.Errorf("%s, %v: %v, crypto/rsa says %v, want %v", name, hash, got, standard, want)
	}
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestVerifyPKCS1v15AgreesWithTheStandardLibrary on good signatures and on all that is near.
func TestVerifyPKCS1v15AgreesWithTheStandardLibrary(t *testing.T) {
	for _, bits := range []int{2048, 2050, 3072} {
		key := rsaKey(t, bits)
		for _, hash := range []crypto.Hash{crypto.MD5, crypto.SHA1, crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			digest := make([]byte, hash.Size())
			_, _ = rand.Read(digest)
			good, err := rsa.SignPKCS1v15(nil, key, hash, digest)
			if err != nil {
				t.Fatal(err)
			}
			public := &key.PublicKey
			agree(t, "good", public, hash, digest, good, true)
			agree(t, "nothing", public, hash, digest, nil, false)
			agree(t, "zeros", public, hash, digest, make([]byte, len(good)), false)
			agree(t, "shorter", public, hash, digest, good[1:], false)
			agree(t, "longer", public, hash, digest, append([]byte{0}, good...), false)
			agree(t, "modulus", public, hash, digest, public.N.Bytes(), false)
			agree(t, "shorter digest", public, hash, digest[1:], good, false)
			agree(t, "no digest", public, hash, nil, good, false)
			for i := range good {
				bad := bytes.Clone(good)
				bad[i] ^= 1 << (i % 8)
				agree(t, fmt.Sprint("byte ", i), public, hash, digest, bad, false)
			}
			digest[0] ^= 1
			agree(t, "other digest", public, hash, digest, good, false)
		}
	}
}

// TestVerifyPKCS1v15TakesOneEncodingOnly: each of these was a way to forge signatures for a
// verifier that parses (Bleichenbacher 2006 and later).
func TestVerifyPKCS1v15TakesOneEncodingOnly(t *testing.T) {
	key := rsaKey(t, 2048)
	digest := bytes.Repeat([]byte{0x5A}, 32)
	const size, algorithm = 256, "0609608648016503040201" // id-sha256
	info := digestInfos[crypto.SHA256] + string(digest)
	padded := func(head string, fill byte, tail string) []byte {
		return append(append([]byte(head), bytes.Repeat([]byte{fill}, size-len(head)-len(tail))...), tail...)
	}
	withoutNull, _ := hex.DecodeString("302f300b" + algorithm + "0420")
	longLength, _ := hex.DecodeString("30813130" + "0d" + algorithm + "05000420")
	for name, c := range map[string]struct {
		encoded []byte
		want    bool
	}{
		"the right one":       {padded("\x00\x01", 0xFF, "\x00"+info), true},
		"garbage at the end":  {padded("\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\x00"+info, 0x11, ""), false},
		"garbage before":      {padded("\x00\x01", 0xFF, "\x00\x01\x00"+info), false},
		"other padding":       {padded("\x00\x01", 0xFE, "\x00"+info), false},
		"encryption padding":  {padded("\x00\x02", 0xFF, "\x00"+info), false},
		"no padding":          {padded("", 0, info), false},
		"no separator":        {padded("\x00\x01", 0xFF, info), false},
		"algorithm, no NULL":  {padded("\x00\x01", 0xFF, "\x00"+string(withoutNull)+string(digest)), false},
		"length in two bytes": {padded("\x00\x01", 0xFF, "\x00"+string(longLength)+string(digest)), false},
		"another algorithm":   {padded("\x00\x01", 0xFF, "\x00"+digestInfos[crypto.SHA384]+string(digest)), false},
		"digest alone":        {padded("\x00\x01", 0xFF, "\x00"+string(digest)), false},
	} {
		signature := new(big.Int).Exp(new(big.Int).SetBytes(c.encoded), key.D, key.N).FillBytes(make([]byte, size))
		agree(t, name, &key.PublicKey, crypto.SHA256, digest, signature, c.want)
		// The same number, and one that is the same modulo N.
		above := new(big.Int).Add(new(big.Int).SetBytes(signature), key.N)
		if above.BitLen() <= size*8 {
			agree(t, name+" + N", &key.PublicKey, crypto.SHA256, digest, above.FillBytes(make([]byte, size)), false)
		}
	}
}

// TestVerifyPKCS1v15LeavesOddKeysToTheStandardLibrary.
func TestVerifyPKCS1v15LeavesOddKeysToTheStandardLibrary(t *testing.T) {
	key := rsaKey(t, 2048)
	digest := make([]byte, 32)
	good, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest)
	if err != nil {
		t.Fatal(err)
	}
	even := new(big.Int).Add(key.N, big.NewInt(1))
	for name, public := range map[string]*rsa.PublicKey{
		"exponent 1":   {N: key.N, E: 1},
		"exponent 2":   {N: key.N, E: 2},
		"no exponent":  {N: key.N},
		"even modulus": {N: even, E: key.E},
		"no modulus":   {N: new(big.Int), E: key.E},
		"small":        {N: big.NewInt(15), E: key.E},
	} {
		agree(t, name, public, crypto.SHA256, digest, good, false)
	}
	agree(t, "digest without a hash", &key.PublicKey, 0, digest, good, false)
}

func BenchmarkVerifyPKCS1v15(b *testing.B) {
	key, _ := rsa.GenerateKey(rand.Reader, 3072)
	digest := make([]byte, 32)
	signature, _ := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest)
	b.ReportAllocs()
	for b.Loop() {
		if !VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest, signature) {
			b.Fatal("refused")
		}
	}
}
