package key

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	_ "crypto/sha1" // so that Hash.New makes those that are in use
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/asn1"
	"slices"
)

// Hash is a hash with what others call it.
type Hash struct {
	crypto.Hash
	Name      string                // in OpenSSL and gcrypt; gpg and Java have it in capitals
	OID       asn1.ObjectIdentifier // RFC 8017, appendix B.1
	Mechanism uint                  // CKM_… in the parameters of PSS; 0: not for PSS
	MGF1      uint                  // CKG_MGF1_… there
}

var hashes = []Hash{
	{crypto.MD5, "md5", asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}, 0, 0},
	{crypto.SHA1, "sha1", asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, 0x220, 1},
	{crypto.SHA224, "sha224", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4}, 0x255, 5},
	{crypto.SHA256, "sha256", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, 0x250, 2},
	{crypto.SHA384, "sha384", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, 0x260, 3},
	{crypto.SHA512, "sha512", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, 0x270, 4},
}

// FindHash returns false for a hash that no key here signs.
func FindHash(hash crypto.Hash) (Hash, bool) {
	return findHash(func(h Hash) bool { return h.Hash == hash })
}

// HashOfMechanism finds the hash of a mechanism that CK_RSA_PKCS_PSS_PARAMS names.
func HashOfMechanism(mechanism uint64) (Hash, bool) {
	return findHash(func(h Hash) bool { return h.Mechanism != 0 && uint64(h.Mechanism) == mechanism })
}

func findHash(is func(Hash) bool) (Hash, bool) {
	i := slices.IndexFunc(hashes, is)
	if i < 0 {
		return Hash{}, false
	}
	return hashes[i], true
}

// CurveHash is the shortest hash that is as strong as a key on a curve.
func CurveHash(public *ecdsa.PublicKey) crypto.Hash {
	switch bits := public.Params().BitSize; {
	case bits <= 256:
		return crypto.SHA256
	case bits <= 384:
		return crypto.SHA384
	}
	return crypto.SHA512
}

// DigestInfo is what PKCS#1 v1.5 signs of a digest (RFC 8017, section 9.2). A hash that
// FindHash does not know has none.
func DigestInfo(hash crypto.Hash, digest []byte) []byte {
	h, known := FindHash(hash)
	if !known {
		return nil
	}
	return append(h.digestInfo(true), digest...)
}

// digestInfo is the DER up to the digest. All lengths in it are smaller than 128.
func (h Hash) digestInfo(null bool) []byte {
	oid, err := asn1.Marshal(h.OID)
	if err != nil {
		panic(err) // those of the table are well-formed
	}
	algorithm := oid
	if null {
		algorithm = append(algorithm, asn1.NullBytes...)
	}
	prefix := append([]byte{0x30, byte(len(algorithm) + 4 + h.Size()), 0x30, byte(len(algorithm))}, algorithm...)
	return append(prefix, 0x04, byte(h.Size()))
}

// ParseDigestInfo takes apart what is exactly a DigestInfo, with the NULL parameters or
// without them, as some tools leave them out. A bare digest is none.
func ParseDigestInfo(data []byte) (hash crypto.Hash, digest []byte, ok bool) {
	for _, h := range hashes {
		for _, null := range []bool{true, false} {
			digest, ok := bytes.CutPrefix(data, h.digestInfo(null))
			if ok && len(digest) == h.Size() {
				return h.Hash, digest, true
			}
		}
	}
	return 0, nil, false
}
