package signpath

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"

	"signkit/internal/key"
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

func (r *signRequest) verifyRSA(public *rsa.PublicKey, answer []byte) error {
	var err error
	if r.scheme == rsaPSS {
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		err = rsa.VerifyPSS(public, r.hash, r.digest, answer, options)
	} else {
		err = rsa.VerifyPKCS1v15(public, r.hash, r.digest, answer)
	}
	if err != nil {
		return fmt.Errorf("%w (%s, %d bytes)", ErrWrongSignature, r, len(answer))
	}
	return nil
}

// acceptECDSA reads what was asked for (P1363), and ASN.1 in case the service sent that
// instead: only what verifies counts.
func (r *signRequest) acceptECDSA(public *ecdsa.PublicKey, answer []byte) ([]byte, error) {
	if accepted, ok := key.AcceptECDSA(public, r.digest, answer, r.format); ok {
		return accepted, nil
	}
	return nil, fmt.Errorf("%w (%s %s, %d bytes)", ErrWrongSignature, r, public.Curve.Params().Name, len(answer))
}
