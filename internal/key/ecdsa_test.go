package key

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"math/big"
	"testing"
)

func TestAcceptECDSATurnsEitherFormatIntoTheOther(t *testing.T) {
	digest := sha256.Sum256([]byte("hello"))
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		t.Run(curve.Params().Name, func(t *testing.T) {
			key, err := ecdsa.GenerateKey(curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
			if err != nil {
				t.Fatal(err)
			}
			raw, ok := AcceptECDSA(&key.PublicKey, digest[:], der, P1363)
			if size := (curve.Params().BitSize + 7) / 8; !ok || len(raw) != 2*size {
				t.Fatalf("DER to P1363: %v, %d bytes, want %d", ok, len(raw), 2*size)
			}
			again, ok := AcceptECDSA(&key.PublicKey, digest[:], raw, ASN1)
			if !ok || !bytes.Equal(again, der) {
				t.Errorf("P1363 to DER: %v, %x, want %x", ok, again, der)
			}
		})
	}
}

func TestAcceptECDSARefusesWhatDoesNotVerify(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("hello"))
	der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	other := sha256.Sum256([]byte("another"))
	zero, err := asn1.Marshal(struct{ R, S int }{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ digest, answer []byte }{
		"another digest":  {other[:], der},
		"nothing":         {digest[:], nil},
		"zeros":           {digest[:], make([]byte, 64)},
		"zeros in DER":    {digest[:], zero},
		"one byte short":  {digest[:], der[:len(der)-1]},
		"one byte longer": {digest[:], append(bytes.Clone(der), 0)},
	} {
		if got, ok := AcceptECDSA(&key.PublicKey, c.digest, c.answer, ASN1); ok {
			t.Errorf("%s: accepted as %x", name, got)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for _, c := range []struct {
		opts crypto.SignerOpts
		want Format
	}{
		{nil, ASN1},
		{crypto.SHA256, ASN1},
		{ECDSAOptions{Format: P1363}, P1363},
		{&ECDSAOptions{Format: P1363}, P1363},
	} {
		if got := FormatOf(c.opts); got != c.want {
			t.Errorf("FormatOf(%#v) = %v, want %v", c.opts, got, c.want)
		}
	}
}

func TestToP1363(t *testing.T) {
	der := func(r, s int64) []byte {
		out, err := asn1.Marshal(ecdsaSignature{big.NewInt(r), big.NewInt(s)})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	got, err := ToP1363(der(1, 0x1234), 4)
	if want := []byte{0, 0, 0, 1, 0, 0, 0x12, 0x34}; err != nil || !bytes.Equal(got, want) {
		t.Errorf("leading zeros: %x, %v; want %x", got, err, want)
	}
	for what, wrong := range map[string][]byte{
		"nothing": nil, "zero": der(0, 1), "negative": der(1, -1), "too large": der(1<<32, 1),
		"one byte more": append(der(1, 2), 0), "one byte less": der(1, 2)[:7], "no DER": make([]byte, 8),
	} {
		if got, err := ToP1363(wrong, 4); err == nil {
			t.Errorf("%s: %x", what, got)
		}
	}
}
