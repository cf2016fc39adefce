package p11key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"

	"github.com/miekg/pkcs11"

	"signkit/internal/key"
)

// plan is one signature to be made.
type plan struct {
	name      string // of the mechanism and the hash
	mechanism *pkcs11.Mechanism
	input     []byte // what the module gets
	// accept verifies what the module made, and encodes it as the caller wants it; nil: it is wrong.
	accept func(made []byte) []byte
}

// newPlan turns a digest and options into a plan, or refuses them.
func newPlan(public crypto.PublicKey, digest []byte, opts crypto.SignerOpts) (*plan, error) {
	if opts == nil {
		opts = crypto.Hash(0)
	}
	hash := opts.HashFunc()
	if hash > crypto.BLAKE2b_512 { // the last one; Size panics above it
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, hash)
	}
	if hash != 0 && len(digest) != hash.Size() || len(digest) == 0 {
		return nil, fmt.Errorf("%w: %d bytes for %s", ErrDigestLength, len(digest), hash)
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		return planRSA(public, digest, opts)
	case *ecdsa.PublicKey:
		if _, isPSS := opts.(*rsa.PSSOptions); !isPSS {
			return planECDSA(public, digest, key.FormatOf(opts)), nil
		}
	}
	return nil, fmt.Errorf("%w: %T for a key of type %T", ErrUnsupported, opts, public)
}

func planRSA(public *rsa.PublicKey, digest []byte, opts crypto.SignerOpts) (*plan, error) {
	hash, known := key.FindHash(opts.HashFunc())
	if !known {
		return nil, fmt.Errorf("%w: RSA with %s", ErrUnsupported, opts.HashFunc())
	}
	switch opts := opts.(type) {
	case key.ECDSAOptions, *key.ECDSAOptions:
		return nil, fmt.Errorf("%w: %T for an RSA key", ErrUnsupported, opts)
	case *rsa.PSSOptions:
		return planPSS(public, digest, hash, opts.SaltLength)
	}
	return planPKCS1(public, digest, hash.Hash), nil
}

func planPKCS1(public *rsa.PublicKey, digest []byte, hash crypto.Hash) *plan {
	accept := func(made []byte) []byte {
		if rsa.VerifyPKCS1v15(public, hash, digest, made) != nil {
			return nil
		}
		return made
	}
	return &plan{"CKM_RSA_PKCS with " + hash.String(), pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS, nil),
		key.DigestInfo(hash, digest), accept}
}

// planPSS finds the length of the salt, within emLen ≥ hLen + sLen + 2 (RFC 8017, section 9.1.1).
func planPSS(public *rsa.PublicKey, digest []byte, hash key.Hash, salt int) (*plan, error) {
	longest := (public.N.BitLen()-1+7)/8 - len(digest) - 2
	switch salt {
	case rsa.PSSSaltLengthAuto:
		salt = longest
	case rsa.PSSSaltLengthEqualsHash:
		salt = len(digest)
	}
	if hash.Mechanism == 0 || salt < 0 || salt > longest {
		return nil, fmt.Errorf("%w: RSA-PSS with %s and a salt of %d bytes for a key of %d bits", ErrUnsupported, hash.Hash, salt, public.N.BitLen())
	}
	accept := func(made []byte) []byte {
		if rsa.VerifyPSS(public, hash.Hash, digest, made, &rsa.PSSOptions{SaltLength: salt}) != nil {
			return nil
		}
		return made
	}
	parameters := pkcs11.NewPSSParams(hash.Mechanism, hash.MGF1, uint(salt))
	return &plan{"CKM_RSA_PKCS_PSS with " + hash.Hash.String(), pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, parameters), digest, accept}, nil
}

// planECDSA cuts the digest to the curve's octets, which changes nothing in the signature
// (FIPS 186-5, section 6.4.1), because some modules refuse longer ones.
func planECDSA(public *ecdsa.PublicKey, digest []byte, format key.Format) *plan {
	accept := func(made []byte) []byte {
		made, _ = key.AcceptECDSA(public, digest, made, format)
		return made
	}
	size := (public.Curve.Params().BitSize + 7) / 8
	return &plan{"CKM_ECDSA", pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil), digest[:min(size, len(digest))], accept}
}
