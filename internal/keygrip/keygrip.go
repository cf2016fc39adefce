// Package keygrip computes GnuPG's name of a key pair: a hash of the public
// key's parameters that depends on nothing else, neither on user ids nor on
// times. gpg --with-keygrip shows it.
package keygrip

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1" // #nosec G505 -- the keygrip is defined with SHA-1; it identifies, it protects nothing
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"strings"
)

// Of returns the keygrip of an RSA key or of one on P-256, P-384 or P-521, as
// 40 upper-case hex digits.
func Of(pub crypto.PublicKey) (string, error) {
	h := sha1.New()
	var err error
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		err = writeRSA(h, pub)
	case *ecdsa.PublicKey:
		err = writeEC(h, pub)
	default:
		err = fmt.Errorf("keys of type %T are not supported, only RSA and NIST curves", pub)
	}
	if err != nil {
		return "", fmt.Errorf("computing the keygrip: %w", err)
	}
	return strings.ToUpper(hex.EncodeToString(h.Sum(nil))), nil
}

// writeRSA takes the modulus alone, as a signed number: a leading 00 when the
// top bit is set.
func writeRSA(h hash.Hash, pub *rsa.PublicKey) error {
	if pub.N == nil || pub.N.Sign() <= 0 {
		return errors.New("the RSA key has no modulus")
	}
	if pub.N.BitLen()%8 == 0 {
		h.Write([]byte{0})
	}
	h.Write(pub.N.Bytes())
	return nil
}

// writeEC takes the curve's parameters and the point as a row of items
// "(1:p32:…)". Numbers are unsigned without leading zeros, points are 04‖X‖Y
// with coordinates of fixed length.
func writeEC(h hash.Hash, pub *ecdsa.PublicKey) error {
	curve := pub.Params()
	switch curve.Name {
	case "P-256", "P-384", "P-521":
	default:
		return fmt.Errorf("curve %s is not supported", curve.Name)
	}
	q, err := pub.Bytes()
	if err != nil {
		return err
	}
	size := (curve.BitSize + 7) / 8
	g := make([]byte, 1+2*size)
	g[0] = 4
	curve.Gx.FillBytes(g[1 : 1+size])
	curve.Gy.FillBytes(g[1+size:])
	a := new(big.Int).Sub(curve.P, big.NewInt(3)) // so on all NIST curves
	for _, item := range []struct {
		name   string
		octets []byte
	}{
		{"p", curve.P.Bytes()}, {"a", a.Bytes()}, {"b", curve.B.Bytes()},
		{"g", g}, {"n", curve.N.Bytes()}, {"q", q},
	} {
		fmt.Fprintf(h, "(1:%s%d:%s)", item.name, len(item.octets), item.octets)
	}
	return nil
}
