package p11key

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"testing"
)

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestReadsPublicKeysInEveryForm(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	info, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]publicAttributes{
		"modulus and exponent":  {modulus: rsaKey.N.Bytes(), exponent: []byte{1, 0, 1}},
		"leading zeros":         {modulus: append([]byte{0}, rsaKey.N.Bytes()...), exponent: []byte{0, 0, 0, 1, 0, 1}},
		"CKA_PUBLIC_KEY_INFO":   {info: info},
		"info without exponent": {info: info, modulus: rsaKey.N.Bytes()},
	} {
		if key, err := a.publicKey(); err != nil || !rsaKey.PublicKey.Equal(key) {
			t.Errorf("%s: %v, %v", name, key, err)
		}
	}
	for _, c := range curves {
		key, err := ecdsa.GenerateKey(c.curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		params := marshal(t, c.oid)
		for name, a := range map[string]publicAttributes{
			"point in an OCTET STRING": {params: params, point: marshal(t, point)},
			"bare point":               {params: params, point: point},
		} {
			if got, err := a.publicKey(); err != nil || !key.PublicKey.Equal(got) {
				t.Errorf("%s, %s: %v, %v", c.oid, name, got, err)
			}
		}
	}
}

func TestRefusesPublicKeysItCannotUse(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	info, err := x509.MarshalPKIXPublicKey(&p224.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	p256 := marshal(t, curves[0].oid)
	modulus := make([]byte, 256)
	modulus[0], modulus[255] = 0x80, 1
	for name, c := range map[string]struct {
		a    publicAttributes
		want error // nil: any
	}{
		"nothing":                 {publicAttributes{}, errNoPublicKey},
		"modulus alone":           {publicAttributes{modulus: modulus}, errNoPublicKey},
		"curve alone":             {publicAttributes{params: p256}, errNoPublicKey},
		"even modulus":            {publicAttributes{modulus: make([]byte, 256), exponent: []byte{3}}, ErrUnsupported},
		"short modulus":           {publicAttributes{modulus: modulus[200:], exponent: []byte{3}}, ErrUnsupported},
		"even exponent":           {publicAttributes{modulus: modulus, exponent: []byte{2}}, ErrUnsupported},
		"large exponent":          {publicAttributes{modulus: modulus, exponent: modulus}, ErrUnsupported},
		"another curve":           {publicAttributes{params: marshal(t, asn1.ObjectIdentifier{1, 3, 132, 0, 10}), point: []byte{4}}, ErrUnsupported},
		"another curve in info":   {publicAttributes{info: info}, ErrUnsupported},
		"explicit parameters":     {publicAttributes{params: []byte{0x30, 0}, point: []byte{4}}, ErrUnsupported},
		"point not on the curve":  {publicAttributes{params: p256, point: append([]byte{4}, make([]byte, 64)...)}, nil},
		"broken info":             {publicAttributes{info: []byte{1}}, nil},
		"broken certificate":      {publicAttributes{certificate: []byte{1}}, nil},
		"point of another length": {publicAttributes{params: p256, point: []byte{4, 1, 2}}, nil},
	} {
		key, err := c.a.publicKey()
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, key, err, c.want)
		}
	}
}

// TestBarePointThatLooksLikeAnOctetString has the length of the rest as its second octet.
func TestBarePointThatLooksLikeAnOctetString(t *testing.T) {
	for {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if int(point[1]) != len(point)-2 {
			continue // one of 256 does
		}
		got, err := publicAttributes{params: marshal(t, curves[0].oid), point: point}.publicKey()
		if err != nil || !key.PublicKey.Equal(got) {
			t.Errorf("%x: %v, %v", point, got, err)
		}
		return
	}
}
