package key

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/asn1"
	"errors"
	"math/big"
)

// Format is the encoding of an ECDSA signature.
type Format int

const (
	ASN1  Format = iota // SEQUENCE of r and s in DER (RFC 3279, section 2.2.3)
	P1363               // r and s, each as long as the curve's order, as one string (IEEE P1363)
)

// ECDSAOptions are crypto.SignerOpts that choose the encoding of an ECDSA signature.
type ECDSAOptions struct {
	Hash   crypto.Hash // 0: unknown, the digest may have any length
	Format Format
}

// HashFunc returns the hash of the digest, or 0 when it is not known.
func (o ECDSAOptions) HashFunc() crypto.Hash { return o.Hash }

// FormatOf is the encoding that opts ask for: ASN1 unless they are ECDSAOptions.
func FormatOf(opts crypto.SignerOpts) Format {
	switch opts := opts.(type) {
	case ECDSAOptions:
		return opts.Format
	case *ECDSAOptions:
		return opts.Format
	}
	return ASN1
}

// AcceptECDSA reads a signature in either format, whichever verifies, and returns it in the
// one that is wanted. It reports false for what verifies in neither.
func AcceptECDSA(public *ecdsa.PublicKey, digest, answer []byte, want Format) ([]byte, bool) {
	size := OrderSize(public)
	for format, s := range []*ecdsaSignature{ASN1: parseASN1(answer), P1363: parseP1363(answer, size)} {
		if s == nil || s.R.Sign() <= 0 || s.S.Sign() <= 0 {
			continue
		}
		der, err := asn1.Marshal(*s)
		if err != nil || !ecdsa.VerifyASN1(public, digest, der) {
			continue
		}
		switch {
		case want == ASN1:
			return der, true
		case Format(format) == P1363:
			return answer, true
		}
		return s.p1363(size), true // verified, so both are smaller than the order
	}
	return nil, false
}

// OrderSize is the length of r and of s in bytes.
func OrderSize(public *ecdsa.PublicKey) int { return (public.Params().BitSize + 7) / 8 }

var errNotASN1 = errors.New("the ECDSA signature is no SEQUENCE of two positive numbers of the curve's size")

// SplitASN1 returns r and s of a signature in DER.
func SplitASN1(der []byte) (r, s *big.Int, err error) {
	pair := parseASN1(der)
	if pair == nil || pair.R.Sign() <= 0 || pair.S.Sign() <= 0 {
		return nil, nil, errNotASN1
	}
	return pair.R, pair.S, nil
}

// ToP1363 turns a signature in DER into r and s of size bytes each. It verifies nothing.
func ToP1363(der []byte, size int) ([]byte, error) {
	r, s, err := SplitASN1(der)
	if err != nil || r.BitLen() > 8*size || s.BitLen() > 8*size {
		return nil, errNotASN1
	}
	return (&ecdsaSignature{r, s}).p1363(size), nil
}

// ecdsaSignature is Ecdsa-Sig-Value of RFC 3279, section 2.2.3.
type ecdsaSignature struct{ R, S *big.Int }

func (s *ecdsaSignature) p1363(size int) []byte {
	out := make([]byte, 2*size)
	s.R.FillBytes(out[:size])
	s.S.FillBytes(out[size:])
	return out
}

func parseP1363(signature []byte, size int) *ecdsaSignature {
	if len(signature) != 2*size {
		return nil
	}
	return &ecdsaSignature{new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])}
}

func parseASN1(signature []byte) *ecdsaSignature {
	var s ecdsaSignature
	rest, err := asn1.Unmarshal(signature, &s)
	if err != nil || len(rest) > 0 {
		return nil
	}
	return &s
}
