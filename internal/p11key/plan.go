package p11key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/hex"
	"fmt"

	"signkit/internal/signature"
)

type scheme int

const (
	rsaPKCS1 scheme = iota // CKM_RSA_PKCS
	rsaPSS                 // CKM_RSA_PKCS_PSS
	rawECDSA               // CKM_ECDSA
)

// plan is one signature to be made.
type plan struct {
	scheme scheme
	hash   crypto.Hash // RSA: always set
	digest []byte      // as the caller gave it
	input  []byte      // as the module gets it
	salt   int         // PSS: length of the salt
	format signature.Format
}

// digestInfo is what comes before the digest in PKCS#1 v1.5 (RFC 8017, section 9.2, note 1).
var digestInfo = map[crypto.Hash]string{
	crypto.MD5:    "3020300c06082a864886f70d020505000410",
	crypto.SHA1:   "3021300906052b0e03021a05000414",
	crypto.SHA224: "302d300d06096086480165030402040500041c",
	crypto.SHA256: "3031300d060960864801650304020105000420",
	crypto.SHA384: "3041300d060960864801650304020205000430",
	crypto.SHA512: "3051300d060960864801650304020305000440",
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
		return nil, fmt.Errorf("%w: %d bytes for %s", ErrDigestLength, len(digest), hashName(hash))
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		return planRSA(public, digest, opts)
	case *ecdsa.PublicKey:
		return planECDSA(public, digest, opts)
	}
	return nil, fmt.Errorf("%w: key of type %T", ErrUnsupported, public)
}

func planRSA(public *rsa.PublicKey, digest []byte, opts crypto.SignerOpts) (*plan, error) {
	p := &plan{scheme: rsaPKCS1, hash: opts.HashFunc(), digest: digest, input: digest}
	prefix, ok := digestInfo[p.hash]
	if !ok {
		return nil, fmt.Errorf("%w: RSA with %s", ErrUnsupported, hashName(p.hash))
	}
	switch opts := opts.(type) {
	case signature.ECDSAOptions, *signature.ECDSAOptions:
		return nil, fmt.Errorf("%w: ECDSA options for an RSA key", ErrUnsupported)
	case *rsa.PSSOptions:
		return p, p.setPSS(public, opts)
	}
	header, err := hex.DecodeString(prefix)
	p.input = append(header, digest...)
	return p, err
}

// setPSS finds the length of the salt, within emLen ≥ hLen + sLen + 2 (RFC 8017, section 9.1.1).
func (p *plan) setPSS(public *rsa.PublicKey, opts *rsa.PSSOptions) error {
	p.scheme = rsaPSS
	if p.hash == crypto.MD5 {
		return fmt.Errorf("%w: RSA-PSS with MD5", ErrUnsupported)
	}
	size := p.hash.Size()
	longest := (public.N.BitLen()-1+7)/8 - size - 2
	switch opts.SaltLength {
	case rsa.PSSSaltLengthAuto:
		p.salt = longest
	case rsa.PSSSaltLengthEqualsHash:
		p.salt = size
	default:
		p.salt = opts.SaltLength
	}
	if p.salt < 0 || p.salt > longest {
		return fmt.Errorf("%w: RSA-PSS with %s and a salt of %d bytes for a key of %d bits", ErrUnsupported, p.hash, p.salt, public.N.BitLen())
	}
	return nil
}

// planECDSA cuts the digest to the curve's octets, which changes nothing in the signature
// (FIPS 186-5, section 6.4.1), because some modules refuse longer ones.
func planECDSA(public *ecdsa.PublicKey, digest []byte, opts crypto.SignerOpts) (*plan, error) {
	if _, ok := opts.(*rsa.PSSOptions); ok {
		return nil, fmt.Errorf("%w: RSA-PSS options for an ECDSA key", ErrUnsupported)
	}
	size := (public.Curve.Params().BitSize + 7) / 8
	return &plan{scheme: rawECDSA, hash: opts.HashFunc(), digest: digest, input: digest[:min(size, len(digest))],
		format: signature.FormatOf(opts)}, nil
}

// accept verifies what the module made, and encodes it as the caller wants it.
func (p *plan) accept(public crypto.PublicKey, made []byte) ([]byte, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if p.verifyRSA(public, made) == nil {
			return made, nil
		}
	case *ecdsa.PublicKey:
		if accepted, ok := signature.AcceptECDSA(public, p.digest, made, p.format); ok {
			return accepted, nil
		}
	}
	return nil, fmt.Errorf("%w (%s, %d bytes)", ErrWrongSignature, p, len(made))
}

func (p *plan) verifyRSA(public *rsa.PublicKey, made []byte) error {
	if p.scheme == rsaPSS {
		return rsa.VerifyPSS(public, p.hash, p.digest, made, &rsa.PSSOptions{SaltLength: p.salt})
	}
	return rsa.VerifyPKCS1v15(public, p.hash, p.digest, made)
}

// String names the mechanism and the hash.
func (p *plan) String() string {
	switch p.scheme {
	case rsaPKCS1:
		return "CKM_RSA_PKCS with " + p.hash.String()
	case rsaPSS:
		return "CKM_RSA_PKCS_PSS with " + p.hash.String()
	}
	return "CKM_ECDSA"
}

func hashName(hash crypto.Hash) string {
	if hash == 0 {
		return "no hash"
	}
	return hash.String()
}
