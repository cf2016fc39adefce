package p11key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"

	"github.com/miekg/pkcs11"

	"signkit/internal/signature"
)

// plan is one signature to be made.
type plan struct {
	name      string // of the mechanism and the hash
	mechanism *pkcs11.Mechanism
	input     []byte // what the module gets
	// accept verifies what the module made, and encodes it as the caller wants it; nil: it is wrong.
	accept func(made []byte) []byte
}

// rsaHashes are the hashes of RSA signatures: what comes before the digest in PKCS#1 v1.5
// (RFC 8017, section 9.2, note 1), and the parameters of PSS, where there are any.
var rsaHashes = map[crypto.Hash]struct {
	digestInfo string
	hash, mask uint
}{
	crypto.MD5:    {"\x30\x20\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05\x05\x00\x04\x10", 0, 0},
	crypto.SHA1:   {"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14", pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1},
	crypto.SHA224: {"\x30\x2d\x30\x0d" + sha2 + "\x04\x05\x00\x04\x1c", pkcs11.CKM_SHA224, pkcs11.CKG_MGF1_SHA224},
	crypto.SHA256: {"\x30\x31\x30\x0d" + sha2 + "\x01\x05\x00\x04\x20", pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256},
	crypto.SHA384: {"\x30\x41\x30\x0d" + sha2 + "\x02\x05\x00\x04\x30", pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384},
	crypto.SHA512: {"\x30\x51\x30\x0d" + sha2 + "\x03\x05\x00\x04\x40", pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512},
}

const sha2 = "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02" // of an object identifier

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
			return planECDSA(public, digest, signature.FormatOf(opts)), nil
		}
	}
	return nil, fmt.Errorf("%w: %T for a key of type %T", ErrUnsupported, opts, public)
}

func planRSA(public *rsa.PublicKey, digest []byte, opts crypto.SignerOpts) (*plan, error) {
	hash := opts.HashFunc()
	if _, known := rsaHashes[hash]; !known {
		return nil, fmt.Errorf("%w: RSA with %s", ErrUnsupported, hash)
	}
	switch opts := opts.(type) {
	case signature.ECDSAOptions, *signature.ECDSAOptions:
		return nil, fmt.Errorf("%w: %T for an RSA key", ErrUnsupported, opts)
	case *rsa.PSSOptions:
		return planPSS(public, digest, opts)
	}
	return planPKCS1(public, digest, hash), nil
}

func planPKCS1(public *rsa.PublicKey, digest []byte, hash crypto.Hash) *plan {
	accept := func(made []byte) []byte {
		if rsa.VerifyPKCS1v15(public, hash, digest, made) != nil {
			return nil
		}
		return made
	}
	return &plan{"CKM_RSA_PKCS with " + hash.String(), pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS, nil),
		append([]byte(rsaHashes[hash].digestInfo), digest...), accept}
}

// planPSS finds the length of the salt, within emLen ≥ hLen + sLen + 2 (RFC 8017, section 9.1.1).
func planPSS(public *rsa.PublicKey, digest []byte, opts *rsa.PSSOptions) (*plan, error) {
	known := rsaHashes[opts.Hash]
	longest := (public.N.BitLen()-1+7)/8 - len(digest) - 2
	salt := opts.SaltLength
	switch salt {
	case rsa.PSSSaltLengthAuto:
		salt = longest
	case rsa.PSSSaltLengthEqualsHash:
		salt = len(digest)
	}
	if known.hash == 0 || salt < 0 || salt > longest {
		return nil, fmt.Errorf("%w: RSA-PSS with %s and a salt of %d bytes for a key of %d bits", ErrUnsupported, opts.Hash, salt, public.N.BitLen())
	}
	accept := func(made []byte) []byte {
		if rsa.VerifyPSS(public, opts.Hash, digest, made, &rsa.PSSOptions{SaltLength: salt}) != nil {
			return nil
		}
		return made
	}
	parameters := pkcs11.NewPSSParams(known.hash, known.mask, uint(salt))
	return &plan{"CKM_RSA_PKCS_PSS with " + opts.Hash.String(), pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, parameters), digest, accept}, nil
}

// planECDSA cuts the digest to the curve's octets, which changes nothing in the signature
// (FIPS 186-5, section 6.4.1), because some modules refuse longer ones.
func planECDSA(public *ecdsa.PublicKey, digest []byte, format signature.Format) *plan {
	accept := func(made []byte) []byte {
		made, _ = signature.AcceptECDSA(public, digest, made, format)
		return made
	}
	size := (public.Curve.Params().BitSize + 7) / 8
	return &plan{"CKM_ECDSA", pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil), digest[:min(size, len(digest))], accept}
}
