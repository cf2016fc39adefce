package signpath

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// accept verifies the service's answer against what the caller asked for, and encodes the
// signature as the caller wants it.
func (r *signRequest) accept(public crypto.PublicKey, result *signResult) ([]byte, error) {
	if len(result.echo) > 0 && !bytes.Equal(result.echo, r.sent) {
		return nil, fmt.Errorf("%w: it is for another hash than the one that was sent", ErrWrongSignature)
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		if err := r.verifyRSA(public, result.signature); err != nil {
			return nil, err
		}
		return result.signature, nil
	case *ecdsa.PublicKey:
		return r.acceptECDSA(public, result.signature)
	}
	return nil, ErrUnsupported
}

func (r *signRequest) verifyRSA(public *rsa.PublicKey, signature []byte) error {
	var err error
	if r.scheme == rsaPSS {
		err = rsa.VerifyPSS(public, r.hash, r.digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	} else {
		err = rsa.VerifyPKCS1v15(public, r.hash, r.digest, signature)
	}
	if err != nil {
		return fmt.Errorf("%w (%s, %d bytes)", ErrWrongSignature, r, len(signature))
	}
	return nil
}

// acceptECDSA reads what was asked for (P1363), and ASN.1 in case the service sent that
// instead: only what verifies counts.
func (r *signRequest) acceptECDSA(public *ecdsa.PublicKey, signature []byte) ([]byte, error) {
	size := (public.Curve.Params().BitSize + 7) / 8
	for _, s := range []*ecdsaSignature{parseP1363(signature, size), parseASN1(signature)} {
		if s == nil || s.R.Sign() <= 0 || s.S.Sign() <= 0 {
			continue
		}
		der, err := asn1.Marshal(*s)
		if err != nil || !ecdsa.VerifyASN1(public, r.digest, der) {
			continue
		}
		if r.format == P1363 {
			return s.p1363(size), nil
		}
		return der, nil
	}
	return nil, fmt.Errorf("%w (%s %s, %d bytes)", ErrWrongSignature, r, public.Curve.Params().Name, len(signature))
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
