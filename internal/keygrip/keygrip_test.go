package keygrip

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
)

// The vectors' keys: the modulus of an RSA key with exponent 65537, points of EC keys.
const (
	rsa3072 = `00bab01a48b91cc6e80602749376398c44b87c3e1dc0e21804f0a7dd1f133996ee5a46e0992f18a9c3014ebb0a47cf23
27a4979d14fa1cc8190a0d7fbd899dcdb976c5acb0e3bf67982bd1d8211bf5c83651bb7eeda3c12d1a1ae43ba125fdd3
96c5bae9fc83c5c245529cfbfbb4ded4cd9ae71ed84850bcdd496d590a9254a10cb6d5ee10bfdddf2cb944a994fae4b9
d3f471f65724cac8ce8a1830a947a4e958a477b503d9d665886dcfdfa370ad5e0993e5f35dc666b495d3a579e2a2df7e
da5bc0dde91324a69bd9d34107b561f844e39daea85259dd1682221473bb89ee926b439300d732ce787afe14b8f8381b
ad42897517c73b77cb9fd93864d80045700a2717280d4db20b4a1bee6acfa6e170eb931c77cd877635c32d834b68bed8
30b815e98b9852e46131a0bb4c82b0912fe900804044c4507a188a6893277fb5bdde0b770769425bcba285359332eb3f
a7bcb74641abcb5a1848ff092b4900da9f3243ae57ebb19b8de055133eee07661468e2a90505d49376ae6bd1a42acf05
0d`
	p256 = `0459ebf0b50f35983b4db9fcb948a3069aaa397cdda28d83113324dc655c01e2877b1a9e2daf3f4cbdb5b9d9fbb5a6a9
5c26247485de90c8646bc1feddd9445589`
	p384 = `04a7bc7504bb39802ae1712281181f2ab27d80870bd5652e940e3187778966a35eb50ff0e5082ede81fe67b40f99b415
050741c38d24d5262af5d58aa87730632682aff0880319f52dde11e3e7097d9c9aad02eddab713007ca6e8bfcfb8abb0
0b`
	p521 = `040136989a5296dd630d9a5d9e9ce825e1086f4a25f051d0e48d38643a698f7ffb1cb0bb2dde2d22c91954480869f0c1
6b343b6699372fe3f8ff7b0a45f5eb5552c03301bd21a04c6b6e42a611d492365dd9281898626206f90d717b73106ca2
4478b5b9d7c1c4bf35774506ffb30781196943b23fd56ecf80ea2ac626af8e9a88fb6a1b3b`
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func point(t *testing.T, curve elliptic.Curve, s string) *ecdsa.PublicKey {
	t.Helper()
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, unhex(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

func TestOfVectors(t *testing.T) {
	for name, test := range map[string]struct {
		pub  crypto.PublicKey
		want string
	}{
		"RSA 3072": {&rsa.PublicKey{N: new(big.Int).SetBytes(unhex(t, rsa3072)), E: 65537},
			"8758587CD4AF64126BE50973E1039044FA307D49"},
		"P-256": {point(t, elliptic.P256(), p256), "43A0C903A7D3CFCE3F18B23D79FDDFC2EBD99527"},
		"P-384": {point(t, elliptic.P384(), p384), "5E0C30056A271B5EC93131D7A3D5BC58DEF1EF9C"},
		"P-521": {point(t, elliptic.P521(), p521), "59716FEF9BEB191674C9C228AE9F3DB6E2D58DE2"},
	} {
		got, err := Of(test.pub)
		if err != nil || got != test.want {
			t.Errorf("%s: Of = %q, %v; want %q", name, got, err, test.want)
		}
	}
}

func p224(t *testing.T) crypto.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key.Public()
}

func TestOfRefusesOtherKeys(t *testing.T) {
	for name, pub := range map[string]crypto.PublicKey{
		"nil":              nil,
		"Ed25519":          ed25519.PublicKey(make([]byte, 32)),
		"P-224":            p224(t),
		"RSA, no modulus":  &rsa.PublicKey{E: 65537},
		"RSA, modulus < 0": &rsa.PublicKey{N: big.NewInt(-5), E: 65537},
	} {
		if grip, err := Of(pub); err == nil {
			t.Errorf("%s: Of = %q, want an error", name, grip)
		}
	}
}
