package key

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"testing"
)

// prefixes are those of RFC 8017, section 9.2, note 1.
var prefixes = map[crypto.Hash]string{
	crypto.MD5:    "\x30\x20\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05\x05\x00\x04\x10",
	crypto.SHA1:   "\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
	crypto.SHA224: "\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x04\x05\x00\x04\x1c",
	crypto.SHA256: "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
	crypto.SHA384: "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
	crypto.SHA512: "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
}

func TestDigestInfoIsThatOfTheStandard(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hashes {
		digest := bytes.Repeat([]byte{7}, h.Size())
		info := DigestInfo(h.Hash, digest)
		if want := append([]byte(prefixes[h.Hash]), digest...); !bytes.Equal(info, want) {
			t.Errorf("%v: %x, want %x", h, info, want)
		}
		signature, err := rsa.SignPKCS1v15(nil, private, 0, info)
		if err != nil {
			t.Fatal(err)
		}
		if err := rsa.VerifyPKCS1v15(&private.PublicKey, h.Hash, digest, signature); err != nil {
			t.Errorf("%v: the standard library does not take it: %v", h, err)
		}
	}
	if info := DigestInfo(crypto.BLAKE2b_256, make([]byte, 32)); info != nil {
		t.Errorf("a hash without a name has the DigestInfo %x", info)
	}
}

func TestParseDigestInfoTakesBothForms(t *testing.T) {
	for _, h := range hashes {
		for _, null := range []bool{true, false} {
			data := append(h.digestInfo(null), make([]byte, h.Size())...)
			if hash, digest, ok := ParseDigestInfo(data); !ok || hash != h.Hash || len(digest) != h.Size() {
				t.Errorf("%v: %v, %d bytes, %v", h, hash, len(digest), ok)
			}
			for what, wrong := range map[string][]byte{
				"one byte less": data[:len(data)-1], "one byte more": append(slices.Clone(data), 0),
				"a digest alone": data[len(data)-h.Size():], "a prefix alone": h.digestInfo(null), "nothing": nil,
			} {
				if hash, _, ok := ParseDigestInfo(wrong); ok {
					t.Errorf("%v, %s: taken as %v", h, what, hash)
				}
			}
		}
	}
}

// TestHashOfMechanism has the numbers of pkcs11t.h.
func TestHashOfMechanism(t *testing.T) {
	type names struct {
		hash crypto.Hash
		mgf1 uint
	}
	for mechanism, want := range map[uint64]names{
		0x220: {crypto.SHA1, 1}, 0x255: {crypto.SHA224, 5}, 0x250: {crypto.SHA256, 2},
		0x260: {crypto.SHA384, 3}, 0x270: {crypto.SHA512, 4}, 0: {}, 0x210: {},
	} {
		if h, ok := HashOfMechanism(mechanism); h.Hash != want.hash || h.MGF1 != want.mgf1 || ok != (want.hash != 0) {
			t.Errorf("0x%x: %v, MGF %d, %v", mechanism, h.Hash, h.MGF1, ok)
		}
	}
}

// FuzzDigestInfo: what is taken has the length of its hash.
func FuzzDigestInfo(f *testing.F) {
	for _, h := range hashes {
		f.Add(append(h.digestInfo(true), make([]byte, h.Size())...))
		f.Add(append(h.digestInfo(false), make([]byte, h.Size())...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if hash, digest, ok := ParseDigestInfo(data); ok && len(digest) != hash.Size() {
			t.Errorf("%v with %d bytes", hash, len(digest))
		}
	})
}
