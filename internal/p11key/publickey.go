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

func (a publicAttributes) publicKey() (crypto.PublicKey, error) {
	switch {
	case len(a.modulus) > 0 && len(a.exponent) > 0:
		return rsaKey(a.modulus, a.exponent)
	case len(a.params) > 0 && len(a.point) > 0:
		return ecdsaKey(a.params, a.point)
	case len(a.info) > 0:
		return parseInfo(a.info)
	case len(a.certificate) > 0:
		certificate, err := x509.ParseCertificate(a.certificate)
		if err != nil {
			return nil, fmt.Errorf("reading its certificate: %w", err)
		}
		return supported(certificate.PublicKey)
	}
	return nil, errNoPublicKey
}

func parseInfo(der []byte) (crypto.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading CKA_PUBLIC_KEY_INFO: %w", err)
	}
	return supported(key)
}

// supported keeps to what signatures are made with here.
func supported(key crypto.PublicKey) (crypto.PublicKey, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return checkRSA(key)
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return key, nil
		}
		return nil, fmt.Errorf("%w: curve %s", ErrUnsupported, key.Curve.Params().Name)
	}
	return nil, fmt.Errorf("%w: key of type %T", ErrUnsupported, key)
}

func rsaKey(modulus, exponent []byte) (crypto.PublicKey, error) {
	e := new(big.Int).SetBytes(exponent)
	if e.BitLen() > 31 {
		return nil, fmt.Errorf("%w: RSA public exponent of %d bits", ErrUnsupported, e.BitLen())
	}
	return checkRSA(&rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(e.Int64())})
}

// checkRSA keeps to what crypto/rsa can verify.
func checkRSA(key *rsa.PublicKey) (crypto.PublicKey, error) {
	bits := key.N.BitLen()
	if bits < 1024 || bits > 16384 || key.N.Bit(0) == 0 {
		return nil, fmt.Errorf("%w: RSA modulus of %d bits", ErrUnsupported, bits)
	}
	if key.E < 3 || key.E&1 == 0 {
		return nil, fmt.Errorf("%w: RSA public exponent %d", ErrUnsupported, key.E)
	}
	return key, nil
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
