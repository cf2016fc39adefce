package signpath

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"math/big"

	"signkit/internal/caller"
	"signkit/internal/key"
)

// Format is the encoding of an ECDSA signature.
type Format = key.Format

const (
	ASN1  = key.ASN1  // SEQUENCE of r and s in DER (RFC 3279, section 2.2.3)
	P1363 = key.P1363 // r and s, each as long as the curve's order, as one string (IEEE P1363)
)

// ECDSAOptions are crypto.SignerOpts that choose the encoding of an ECDSA signature.
type ECDSAOptions = key.ECDSAOptions

type scheme int

const (
	rsaPKCS1 scheme = iota
	rsaPSS
	ecdsaScheme
)

// signRequest is one signature to be made, checked against what the service can do.
type signRequest struct {
	scheme scheme
	hash   crypto.Hash // RSA: always set
	digest []byte      // as the caller gave it
	sent   []byte      // as the service gets it
	format Format      // ECDSA: what the caller wants
	asking *caller.Process
}

func (r *signRequest) String() string {
	switch r.scheme {
	case rsaPKCS1:
		return "RSA-PKCS1 " + r.hash.String()
	case rsaPSS:
		return "RSA-PSS " + r.hash.String()
	}
	return "ECDSA"
}

// plan turns a digest and options into a request, or refuses them.
func plan(public crypto.PublicKey, digest []byte, opts crypto.SignerOpts) (*signRequest, error) {
	if opts == nil {
		opts = crypto.Hash(0)
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		return planRSA(public, digest, opts)
	case *ecdsa.PublicKey:
		return planECDSA(public, digest, opts)
	}
	return nil, fmt.Errorf("%w: key of type %T", ErrUnsupported, public)
}

func planRSA(public *rsa.PublicKey, digest []byte, opts crypto.SignerOpts) (*signRequest, error) {
	r := &signRequest{scheme: rsaPKCS1, hash: opts.HashFunc(), digest: digest, sent: digest}
	if _, ok := opts.(ECDSAOptions); ok {
		return nil, fmt.Errorf("%w: ECDSA options for an RSA key", ErrUnsupported)
	}
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		if err := checkPSS(public, pss); err != nil {
			return nil, err
		}
		r.scheme = rsaPSS
	}
	if rsaHashOID(r.hash) == "" {
		return nil, fmt.Errorf("%w: RSA with %s", ErrUnsupported, hashName(r.hash))
	}
	return r, checkLength(r.hash, digest)
}

// checkPSS: the service has no field for salt or mask; it uses those of the digest.
func checkPSS(public *rsa.PublicKey, pss *rsa.PSSOptions) error {
	if pss.Hash == crypto.MD5 || rsaHashOID(pss.Hash) == "" {
		return fmt.Errorf("%w: RSA-PSS with %s", ErrUnsupported, hashName(pss.Hash))
	}
	size := pss.Hash.Size()
	if pss.SaltLength != rsa.PSSSaltLengthEqualsHash && pss.SaltLength != size {
		return fmt.Errorf("%w: RSA-PSS with a salt of another length than the digest's %d bytes", ErrUnsupported, size)
	}
	// RFC 8017, section 9.1.1: emLen ≥ hLen + sLen + 2.
	if encoded := (public.N.BitLen() - 1 + 7) / 8; encoded < 2*size+2 {
		return fmt.Errorf("%w: an RSA key of %d bits is too short for PSS with %s", ErrUnsupported, public.N.BitLen(), pss.Hash)
	}
	return nil
}

func checkLength(hash crypto.Hash, digest []byte) error {
	if len(digest) != hash.Size() {
		return fmt.Errorf("%w: %d bytes for %s, which has %d", ErrDigestLength, len(digest), hash, hash.Size())
	}
	return nil
}

func planECDSA(public *ecdsa.PublicKey, digest []byte, opts crypto.SignerOpts) (*signRequest, error) {
	r := &signRequest{scheme: ecdsaScheme, hash: opts.HashFunc(), digest: digest, format: key.FormatOf(opts)}
	if _, ok := opts.(*rsa.PSSOptions); ok {
		return nil, fmt.Errorf("%w: RSA-PSS options for an ECDSA key", ErrUnsupported)
	}
	if len(digest) == 0 {
		return nil, fmt.Errorf("%w: 0 bytes", ErrDigestLength)
	}
	if r.hash > crypto.BLAKE2b_512 { // the last one; Size panics above it
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, r.hash)
	}
	if r.hash != 0 {
		if err := checkLength(r.hash, digest); err != nil {
			return nil, err
		}
	}
	r.sent = fitDigest(digest, public.Curve.Params().BitSize)
	return r, nil
}

// fitDigest returns a digest of a length that suits a curve of the given size, for which
// every ECDSA signer computes the same integer as for the given one (FIPS 186-5, section
// 6.4.1: the leftmost bits of the digest, as many as the order has). The service refuses
// digests of unsuitable lengths.
//
// P-521 has no digest of its own length. Its integer is sent as 64 bytes, as a SHA-512
// would be; one that does not fit, as 66 bytes, of which signers drop the last 7 bits.
func fitDigest(digest []byte, bits int) []byte {
	size := (bits + 7) / 8
	if bits%8 == 0 {
		if len(digest) > size {
			return digest[:size]
		}
		return append(make([]byte, size-len(digest)), digest...)
	}
	unused := uint(8*size - bits)
	e := new(big.Int)
	if len(digest) >= size {
		e.SetBytes(digest[:size]).Rsh(e, unused)
	} else {
		e.SetBytes(digest)
	}
	if e.BitLen() <= 512 {
		return e.FillBytes(make([]byte, 64))
	}
	return e.Lsh(e, unused).FillBytes(make([]byte, size))
}

// rsaHashOID is "" for hashes that the service does not know with RSA.
func rsaHashOID(hash crypto.Hash) string {
	known, ok := key.FindHash(hash)
	if !ok || hash == crypto.SHA224 {
		return ""
	}
	return known.OID.String()
}

func hashName(hash crypto.Hash) string {
	if hash == 0 {
		return "no hash"
	}
	return hash.String()
}
