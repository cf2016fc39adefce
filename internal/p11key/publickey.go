package p11key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
)

// publicAttributes are the attributes in which an object may show a public key; those it
// does not show are nil. (PKCS#11 v2.40, sections 2.1.2, 2.3.3 and 4.9 of the mechanisms and
// base documents.)
type publicAttributes struct {
	modulus, exponent []byte // CKA_MODULUS, CKA_PUBLIC_EXPONENT: big-endian
	params, point     []byte // CKA_EC_PARAMS, CKA_EC_POINT
	info              []byte // CKA_PUBLIC_KEY_INFO: SubjectPublicKeyInfo in DER
	certificate       []byte // CKA_VALUE of a certificate object
}

// errNoPublicKey reports that an object shows no public key.
var errNoPublicKey = errors.New("shows no public key")

// publicKey keeps to what signatures are made with here, and crypto/rsa can verify.
func (a publicAttributes) publicKey() (crypto.PublicKey, error) {
	key, err := a.read()
	if err != nil {
		return nil, err
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 1024 || bits > 16384 || key.N.Bit(0) == 0 || key.E < 3 || key.E&1 == 0 {
			return nil, fmt.Errorf("%w: RSA modulus of %d bits with exponent %d", ErrUnsupported, bits, key.E)
		}
		return key, nil
	case *ecdsa.PublicKey:
		for _, c := range curves {
			if c.curve == key.Curve {
				return key, nil
			}
		}
		return nil, fmt.Errorf("%w: curve %s", ErrUnsupported, key.Curve.Params().Name)
	}
	return nil, fmt.Errorf("%w: key of type %T", ErrUnsupported, key)
}

func (a publicAttributes) read() (crypto.PublicKey, error) {
	switch {
	case len(a.modulus) > 0 && len(a.exponent) > 0:
		e := new(big.Int).SetBytes(a.exponent)
		if e.BitLen() > 31 {
			return nil, fmt.Errorf("%w: RSA public exponent of %d bits", ErrUnsupported, e.BitLen())
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(a.modulus), E: int(e.Int64())}, nil
	case len(a.params) > 0 && len(a.point) > 0:
		return ecdsaKey(a.params, a.point)
	case len(a.info) > 0:
		key, err := x509.ParsePKIXPublicKey(a.info)
		if err != nil {
			return nil, fmt.Errorf("reading CKA_PUBLIC_KEY_INFO: %w", err)
		}
		return key, nil
	case len(a.certificate) > 0:
		certificate, err := x509.ParseCertificate(a.certificate)
		if err != nil {
			return nil, fmt.Errorf("reading its certificate: %w", err)
		}
		return certificate.PublicKey, nil
	}
	return nil, errNoPublicKey
}

var curves = []struct {
	oid   asn1.ObjectIdentifier
	curve elliptic.Curve
}{
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, elliptic.P256()},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 34}, elliptic.P384()},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 35}, elliptic.P521()},
}

// ecdsaKey reads a named curve and an uncompressed point.
func ecdsaKey(params, point []byte) (crypto.PublicKey, error) {
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(params, &oid); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: CKA_EC_PARAMS %x names no curve", ErrUnsupported, params)
	}
	for _, c := range curves {
		if c.oid.Equal(oid) {
			return readPoint(c.curve, point)
		}
	}
	return nil, fmt.Errorf("%w: curve %s", ErrUnsupported, oid)
}

// readPoint takes a point in a DER OCTET STRING, and one without: some modules leave the
// header out. (A bare point can look like an OCTET STRING: it begins with the same 04.)
func readPoint(curve elliptic.Curve, point []byte) (crypto.PublicKey, error) {
	var inner []byte
	if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 {
		if key, err := ecdsa.ParseUncompressedPublicKey(curve, inner); err == nil {
			return key, nil
		}
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, fmt.Errorf("reading CKA_EC_POINT: %w", err)
	}
	return key, nil
}
