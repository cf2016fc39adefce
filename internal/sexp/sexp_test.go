package sexp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	e := List(Atom("public-key"), List(Atom("rsa"), List(Atom("n"), Atom([]byte{0, 0xFF})), List(Atom("e"), Atom("\x03"))))
	if got, want := string(e.Canonical()), "(10:public-key(3:rsa(1:n2:\x00\xff)(1:e1:\x03)))"; got != want {
		t.Errorf("Canonical = %q, want %q", got, want)
	}
}

func TestParseReadsWhatCanonicalWrites(t *testing.T) {
	for _, text := range []string{
		"0:", "1:a", "()", "(())", "(1:a)", "(1:a(1:b0:)1:c)", "(10:public-key(3:rsa(1:n2:\x00\xff)(1:e1:\x03)))", "10:0123456789",
	} {
		e, err := Parse([]byte(text))
		if err != nil || string(e.Canonical()) != text {
			t.Errorf("Parse(%q) = %q, %v", text, e.Canonical(), err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "(", ")", "1", "1:", ":", ":a", "a", "01:a", "00:", "-1:a", "2:a", "(1:a", "1:ab", "()()", "(1:a) ", "( 1:a)",
		"[1:a]1:b", "(a)", "#41#", "99999999999999999999:a", "1048577:a", strings.Repeat("(", 1000) + strings.Repeat(")", 1000),
	} {
		if e, err := Parse([]byte(text)); err == nil {
			t.Errorf("Parse(%.40q) = %q, want an error", text, e.Canonical())
		}
	}
}

func TestFind(t *testing.T) {
	e, err := Parse([]byte("(3:rsa(1:n1:5)(1:e1:3)(1:e1:4)()1:x)"))
	if err != nil {
		t.Fatal(err)
	}
	if !e.Is("rsa") || e.Is("ecc") || e.List[0].Is("rsa") {
		t.Error("Is: want true for rsa alone")
	}
	if got, ok := e.Find("e"); !ok || len(got) != 1 || string(got[0].Atom) != "3" {
		t.Errorf("Find(e) = %v, %v", got, ok)
	}
	if got, ok := e.Find("q"); ok {
		t.Errorf("Find(q) = %v, want none", got)
	}
}

func TestPublicKeyRSA(t *testing.T) {
	modulus := bytes.Repeat([]byte{0xC5}, 384)
	got, err := PublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	want := "(10:public-key(3:rsa(1:n385:\x00" + string(modulus) + ")(1:e3:\x01\x00\x01)))"
	if string(got) != want {
		t.Errorf("PublicKey = %q, want %q", got, want)
	}
	// What gpg-agent was sent for the key of the recorded dialogues had this length.
	if len(got) != 426 {
		t.Errorf("%d octets, want 426", len(got))
	}
}

func TestPublicKeyEC(t *testing.T) {
	for curve, begin := range map[elliptic.Curve]string{
		elliptic.P256(): "(10:public-key(3:ecc(5:curve10:NIST P-256)(1:q65:\x04",
		elliptic.P384(): "(10:public-key(3:ecc(5:curve10:NIST P-384)(1:q97:\x04",
		elliptic.P521(): "(10:public-key(3:ecc(5:curve10:NIST P-521)(1:q133:\x04",
	} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		got, err := PublicKey(key.Public())
		if want := begin + string(point[1:]) + ")))"; err != nil || string(got) != want {
			t.Errorf("PublicKey = %q, %v; want %q", got, err, want)
		}
	}
}

func TestPublicKeyRefusesOtherKeys(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, pub := range map[string]crypto.PublicKey{
		"Ed25519":      ed25519.PublicKey(make([]byte, 32)),
		"P-224":        p224.Public(),
		"no such type": 5,
	} {
		if got, err := PublicKey(pub); err == nil {
			t.Errorf("%s: PublicKey = %q, want an error", name, got)
		}
	}
}
