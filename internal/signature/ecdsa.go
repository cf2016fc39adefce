// Package signature is what the sources of keys agree on: how a caller chooses the encoding
// of an ECDSA signature, and how an answer from elsewhere becomes a signature that verifies.
package signature

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/asn1"
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
	size := (public.Curve.Params().BitSize + 7) / 8
	for _, s := range []*ecdsaSignature{parseP1363(answer, size), parseASN1(answer)} {
		if s == nil || s.R.Sign() <= 0 || s.S.Sign() <= 0 {
			continue
		}
		der, err := asn1.Marshal(*s)
		if err != nil || !ecdsa.VerifyASN1(public, digest, der) {
			continue
		}
		if want == P1363 {
			return s.p1363(size), true
		}
		return der, true
	}
	return nil, false
}

// ecdsaSignature is Ecdsa-Sig-Value of RFC 3279, section 2.2.3.
type ecdsaSignature struct{ R, S *big.Int }

func (s *ecdsaSignature) p1363(size int) []byte {
	out := make([]byte, 2*size)
	s.R.FillBytes(out[:size]) // verified, so both are smaller than the order
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
