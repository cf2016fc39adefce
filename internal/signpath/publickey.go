package signpath

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// publicKey reads the policy's public key; certificate may be nil.
func (p *policy) publicKey(certificate *x509.Certificate) (crypto.PublicKey, error) {
	switch strings.ToLower(p.KeyType) {
	case "rsa":
		return p.rsaKey(certificate)
	case "ecdsa", "ec":
		return p.ecdsaKey(certificate)
	}
	return nil, fmt.Errorf("%w: key type %q", ErrUnsupported, p.KeyType)
}

// rsaKey takes the parameters, else publicKeyBytes (RSAPublicKey of RFC 8017, appendix
// A.1.1, or SubjectPublicKeyInfo), else the certificate's key.
func (p *policy) rsaKey(certificate *x509.Certificate) (crypto.PublicKey, error) {
	if p.RSAParameters != nil && len(p.RSAParameters.Modulus) > 0 {
		return newRSAKey(p.RSAParameters.Modulus, p.RSAParameters.PublicExponent)
	}
	if key, err := x509.ParsePKCS1PublicKey(p.PublicKeyBytes); err == nil {
		return checkRSA(key)
	}
	if key, ok := parseSPKI(p.PublicKeyBytes).(*rsa.PublicKey); ok {
		return checkRSA(key)
	}
	if certificate != nil {
		if key, ok := certificate.PublicKey.(*rsa.PublicKey); ok {
			return checkRSA(key)
		}
	}
	return nil, errors.New("it has no readable RSA public key")
}

func newRSAKey(modulus, exponent []byte) (crypto.PublicKey, error) {
	e := new(big.Int).SetBytes(exponent)
	if e.BitLen() > 31 {
		return nil, errors.New("its RSA public exponent is larger than 31 bits")
	}
	return checkRSA(&rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(e.Int64())})
}

// checkRSA keeps to what crypto/rsa can verify.
func checkRSA(key *rsa.PublicKey) (crypto.PublicKey, error) {
	bits := key.N.BitLen()
	if bits < 1024 || bits > 16384 || key.N.Bit(0) == 0 {
		return nil, fmt.Errorf("its RSA modulus of %d bits is not usable", bits)
	}
	if key.E < 3 || key.E&1 == 0 {
		return nil, fmt.Errorf("its RSA public exponent %d is not usable", key.E)
	}
	return key, nil
}

// ecdsaKey takes publicKeyBytes as SubjectPublicKeyInfo or as an uncompressed point (SEC 1,
// section 2.3.3), else the certificate's key.
func (p *policy) ecdsaKey(certificate *x509.Certificate) (crypto.PublicKey, error) {
	if key, ok := parseSPKI(p.PublicKeyBytes).(*ecdsa.PublicKey); ok {
		return checkCurve(key)
	}
	if curve := curveOfSize(p.KeySizeInBits); curve != nil {
		if key, err := ecdsa.ParseUncompressedPublicKey(curve, p.PublicKeyBytes); err == nil {
			return key, nil
		}
	}
	if certificate != nil {
		if key, ok := certificate.PublicKey.(*ecdsa.PublicKey); ok {
			return checkCurve(key)
		}
	}
	return nil, fmt.Errorf("it has no readable ECDSA public key (key size %d)", p.KeySizeInBits)
}

func checkCurve(key *ecdsa.PublicKey) (crypto.PublicKey, error) {
	if curveOfSize(key.Curve.Params().BitSize) != key.Curve {
		return nil, fmt.Errorf("%w: curve %s", ErrUnsupported, key.Curve.Params().Name)
	}
	return key, nil
}

func curveOfSize(bits int) elliptic.Curve {
	switch bits {
	case 256:
		return elliptic.P256()
	case 384:
		return elliptic.P384()
	case 521:
		return elliptic.P521()
	}
	return nil
}

// parseSPKI returns nil for what is no SubjectPublicKeyInfo.
func parseSPKI(der []byte) any {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil
	}
	return key
}
