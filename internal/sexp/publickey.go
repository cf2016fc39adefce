package sexp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"math/big"
)

// PublicKey returns the canonical public-key expression that gpg-agent takes
// from a card, for RSA and the NIST curves:
//
//	(public-key (rsa (n 00…) (e 010001)))
//	(public-key (ecc (curve "NIST P-256") (q 04XY)))
func PublicKey(pub crypto.PublicKey) ([]byte, error) {
	var key Expr
	var err error
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		key = rsaKey(pub)
	case *ecdsa.PublicKey:
		key, err = ecKey(pub)
	default:
		err = fmt.Errorf("s-expression of a public key: %T is not supported, only RSA and NIST curves", pub)
	}
	if err != nil {
		return nil, err
	}
	return List(Atom("public-key"), key).Canonical(), nil
}

func rsaKey(pub *rsa.PublicKey) Expr {
	return List(Atom("rsa"),
		List(Atom("n"), Atom(signed(pub.N))),
		List(Atom("e"), Atom(signed(big.NewInt(int64(pub.E))))))
}

func ecKey(pub *ecdsa.PublicKey) (Expr, error) {
	name := "NIST " + pub.Params().Name // P-256, P-384, P-521
	switch name {
	case "NIST P-256", "NIST P-384", "NIST P-521":
	default:
		return Expr{}, fmt.Errorf("s-expression of a public key: curve %s is not supported", pub.Params().Name)
	}
	point, err := pub.Bytes()
	if err != nil {
		return Expr{}, fmt.Errorf("s-expression of a public key: %w", err)
	}
	return List(Atom("ecc"), List(Atom("curve"), Atom(name)), List(Atom("q"), Atom(point))), nil
}

// signed returns the big-endian octets of a positive number, with a leading 00
// when the top bit is set: GnuPG reads integers as two's complement.
func signed(n *big.Int) []byte {
	octets := n.Bytes()
	if len(octets) > 0 && octets[0]&0x80 != 0 {
		return append([]byte{0}, octets...)
	}
	return octets
}
