package token

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"signkit/pkcs11/wire"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// attributeNames are the standard's names of every attribute that an object may show or tools ask for.
var attributeNames = map[uint64]string{
	0x000: "CKA_CLASS", 0x001: "CKA_TOKEN", 0x002: "CKA_PRIVATE", 0x003: "CKA_LABEL", 0x004: "CKA_UNIQUE_ID", 0x010: "CKA_APPLICATION",
	0x011: "CKA_VALUE", 0x080: "CKA_CERTIFICATE_TYPE", 0x081: "CKA_ISSUER", 0x082: "CKA_SERIAL_NUMBER", 0x086: "CKA_TRUSTED",
	0x087: "CKA_CERTIFICATE_CATEGORY", 0x088: "CKA_JAVA_MIDP_SECURITY_DOMAIN", 0x089: "CKA_URL", 0x090: "CKA_CHECK_VALUE",
	0x100: "CKA_KEY_TYPE", 0x101: "CKA_SUBJECT", 0x102: "CKA_ID", 0x103: "CKA_SENSITIVE", 0x104: "CKA_ENCRYPT", 0x105: "CKA_DECRYPT",
	0x106: "CKA_WRAP", 0x107: "CKA_UNWRAP", 0x108: "CKA_SIGN", 0x109: "CKA_SIGN_RECOVER", 0x10A: "CKA_VERIFY", 0x10B: "CKA_VERIFY_RECOVER",
	0x10C: "CKA_DERIVE", 0x110: "CKA_START_DATE", 0x111: "CKA_END_DATE", 0x120: "CKA_MODULUS", 0x121: "CKA_MODULUS_BITS",
	0x122: "CKA_PUBLIC_EXPONENT", 0x123: "CKA_PRIVATE_EXPONENT", 0x124: "CKA_PRIME_1", 0x125: "CKA_PRIME_2", 0x126: "CKA_EXPONENT_1",
	0x127: "CKA_EXPONENT_2", 0x128: "CKA_COEFFICIENT", 0x129: "CKA_PUBLIC_KEY_INFO", 0x162: "CKA_EXTRACTABLE", 0x163: "CKA_LOCAL",
	0x164: "CKA_NEVER_EXTRACTABLE", 0x165: "CKA_ALWAYS_SENSITIVE", 0x170: "CKA_MODIFIABLE", 0x171: "CKA_COPYABLE", 0x172: "CKA_DESTROYABLE",
	0x180: "CKA_EC_PARAMS", 0x181: "CKA_EC_POINT", 0x202: "CKA_ALWAYS_AUTHENTICATE", 0x210: "CKA_WRAP_WITH_TRUSTED",
	0x40000600: "CKA_ALLOWED_MECHANISMS", 0xCF534301: "OpenSC non-repudiation",
}

// publicOnly is a key of which the tests have the public half.
type publicOnly struct{ public crypto.PublicKey }

func (k publicOnly) Public() crypto.PublicKey { return k.public }

func (k publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, fmt.Errorf("a key of %T cannot sign", k.public)
}

func readPEM(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s is not PEM", file)
	}
	return block.Bytes
}

func readCertificate(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(readPEM(t, file))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEveryAttributeOfEveryObject compares what C_GetAttributeValue says of each
// attribute with testdata/*.golden.
func TestEveryAttributeOfEveryObject(t *testing.T) {
	issuer, rsaLeaf, ecLeaf := readCertificate(t, "issuer.pem"), readCertificate(t, "rsa.pem"), readCertificate(t, "ec.pem")
	gpg, err := x509.ParsePKIXPublicKey(readPEM(t, "gpg.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.source.keys = []*fakeKey{
		{id: "demo/rsa", private: publicOnly{rsaLeaf.PublicKey}, leaf: rsaLeaf, issuers: []*x509.Certificate{issuer}},
		{id: "demo/ec", private: publicOnly{ecLeaf.PublicKey}, leaf: ecLeaf, issuers: []*x509.Certificate{issuer}},
		{id: "demo/gpg", private: publicOnly{gpg}},
	}
	session := b.open(t, "CONFIG").handle
	certificate := class(ckoCertificate)
	for name, template := range map[string][]wire.Attribute{
		"rsa-private": {class(ckoPrivateKey), text(ckaID, "demo/rsa")}, "rsa-public": {class(ckoPublicKey), text(ckaID, "demo/rsa")},
		"rsa-certificate": {certificate, text(ckaID, "demo/rsa")}, "ec-private": {class(ckoPrivateKey), text(ckaID, "demo/ec")},
		"ec-public": {class(ckoPublicKey), text(ckaID, "demo/ec")}, "ec-certificate": {certificate, text(ckaID, "demo/ec")},
		"gpg-private": {class(ckoPrivateKey), text(ckaID, "demo/gpg")}, "gpg-public": {class(ckoPublicKey), text(ckaID, "demo/gpg")},
		"issuer": {certificate, {Type: ckaSubject, Value: issuer.RawSubject}},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := b.find(context.Background(), template)
			if err != nil || len(found) != 1 {
				t.Fatalf("found %d, %v", len(found), err)
			}
			compareGolden(t, name, describe(t, b, session, found[0]))
		})
	}
	if found, err := b.find(context.Background(), []wire.Attribute{certificate, text(ckaID, "demo/gpg")}); err != nil || len(found) != 0 {
		t.Errorf("a policy with a GPG key has %d certificates, %v", len(found), err)
	}
}

// describe asks for each attribute by itself; what is not there is left out.
func describe(t *testing.T, b *bench, session, object uint64) string {
	t.Helper()
	types := make([]uint64, 0, len(attributeNames))
	for typ := range attributeNames {
		types = append(types, typ)
	}
	slices.Sort(types)
	var text strings.Builder
	for _, typ := range types {
		rv, res := b.do(wire.GetAttributes, session, object, number(typ))
		switch rv {
		case ckrOK:
			r := wire.NewReader(res.payload)
			value := "empty"
			if b := r.Bytes(r.Uint64()); len(b) > 0 {
				value = hex.EncodeToString(b)
			}
			fmt.Fprintf(&text, "%s %s\n", attributeNames[typ], value)
		case ckrAttributeSensitive:
			fmt.Fprintf(&text, "%s sensitive\n", attributeNames[typ])
		case ckrAttributeTypeInvalid:
		default:
			t.Errorf("%s: %v", attributeNames[typ], rv)
		}
	}
	return text.String()
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n%s", file, got)
	}
}

// TestEveryAttributeHasAName here, so that the golden files hold all of them.
func TestEveryAttributeHasAName(t *testing.T) {
	b := newBench(t)
	b.open(t, "CONFIG")
	all, err := b.find(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, handle := range all {
		o, err := b.lookUp(handle)
		if err != nil {
			t.Fatal(err)
		}
		for typ := range o.attributes {
			if attributeNames[typ] == "" {
				t.Errorf("attribute 0x%x has no name in this test", typ)
			}
		}
	}
}

// TestEveryAttributeCanBeSearchedFor: each by its value alone, and by no other value.
func TestEveryAttributeCanBeSearchedFor(t *testing.T) {
	b := newBench(t)
	session := b.open(t, "CONFIG").handle
	handle := b.privateKey(t, "demo/p256")
	o, err := b.lookUp(handle)
	if err != nil {
		t.Fatal(err)
	}
	for typ, value := range o.attributes {
		found, err := b.find(context.Background(), []wire.Attribute{{Type: typ, Value: value}})
		if err != nil || !slices.Contains(found, handle) {
			t.Errorf("%s: found %v, %v", attributeNames[typ], found, err)
		}
		other := make([]byte, len(value)+1)
		_, _ = rand.Read(other)
		for _, wrong := range [][]byte{append(slices.Clone(value), 0), other} {
			if found, err := b.find(context.Background(), []wire.Attribute{{Type: typ, Value: wrong}}); err != nil || len(found) != 0 {
				t.Errorf("%s with another value: found %v, %v", attributeNames[typ], found, err)
			}
		}
	}
	if size := b.expect(t, ckrOK, wire.GetObjectSize, session, handle, nil).value; size == 0 || size > 4096 {
		t.Errorf("size %d", size)
	}
	b.expect(t, ckrArgumentsBad, wire.GetAttributes, session, handle, []byte{1, 2, 3})
	b.expect(t, ckrOK, wire.GetAttributes, session, handle, nil)
}
