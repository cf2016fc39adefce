package token

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"testing"

	"signkit/pkcs11/wire"
)

const showDummies = "SIGNPATH_INCLUDE_DUMMY_X509CERTIFICATE_FOR_GPG_KEYS=true"

// certificateOf reads the certificate of a policy as a tool does.
func certificateOf(t *testing.T, b *bench, key string) *x509.Certificate {
	t.Helper()
	o := b.object(t, class(ckoCertificate), text(ckaID, key))
	c, err := x509.ParseCertificate(o.attributes[ckaValue])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestKeysWithoutACertificateGetAnUnsignedOne where the settings want it: of the key, of nobody
// else, and of no use to a verifier.
func TestKeysWithoutACertificateGetAnUnsignedOne(t *testing.T) {
	b := newBench(t, showDummies)
	b.open(t, "CONFIG")
	for _, key := range []string{"demo/gpg", "demo/p384", "demo/p521"} {
		c := certificateOf(t, b, key)
		private := b.object(t, class(ckoPrivateKey), text(ckaID, key))
		var info publicKeyInfo
		if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &info); err != nil {
			t.Fatal(err)
		}
		keyID := sha1.Sum(info.PublicKey.Bytes)
		switch {
		case c.Subject.String() != "CN="+key || !bytes.Equal(c.RawIssuer, c.RawSubject):
			t.Errorf("%s: issuer %s, subject %s", key, c.Issuer, c.Subject)
		case !bytes.Equal(private.attributes[ckaSubject], c.RawSubject):
			t.Errorf("%s: the private key has the subject %x", key, private.attributes[ckaSubject])
		case !bytes.Equal(private.attributes[ckaPublicKeyInfo], c.RawSubjectPublicKeyInfo):
			t.Errorf("%s: the certificate is of another key", key)
		case !bytes.Equal(c.SubjectKeyId, keyID[:]) || c.AuthorityKeyId != nil || c.KeyUsage != x509.KeyUsageDigitalSignature || c.IsCA:
			t.Errorf("%s: key id %x, issuer's %x, usage %d, CA %v", key, c.SubjectKeyId, c.AuthorityKeyId, c.KeyUsage, c.IsCA)
		case c.SerialNumber.Sign() <= 0 || len(c.SerialNumber.Bytes()) != 16:
			t.Errorf("%s: serial number %x", key, c.SerialNumber)
		case len(c.Signature) != 0 || c.CheckSignatureFrom(c) == nil:
			t.Errorf("%s: signature %x", key, c.Signature)
		}
		roots := x509.NewCertPool()
		roots.AddCert(certificateOf(t, b, "demo/rsa"))
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
			t.Errorf("%s: the certificate is trusted", key)
		}
	}
	if c := certificateOf(t, b, "demo/rsa"); !c.Equal(b.key("demo/rsa").leaf) {
		t.Error("the certificate of a policy that has one was replaced")
	}
	for _, key := range []string{"demo/gpg", "demo/rsa"} {
		if b.key(key).signed != 0 || b.key(key).chains != 0 {
			t.Errorf("%s: the service was asked for %d signatures and %d chains", key, b.key(key).signed, b.key(key).chains)
		}
	}
}

// object is the only one that a template matches.
func (b *bench) object(t *testing.T, template ...wire.Attribute) *object {
	t.Helper()
	found, err := b.find(context.Background(), template)
	if err != nil || len(found) != 1 {
		t.Fatalf("found %d, %v", len(found), err)
	}
	o, err := b.lookUp(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestUnsignedCertificateIsTheSameEachTime: the golden file holds its bytes. Another policy with
// the same key has another one.
func TestUnsignedCertificateIsTheSameEachTime(t *testing.T) {
	gpg, err := x509.ParsePKIXPublicKey(readPEM(t, "gpg.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, showDummies)
	b.source.keys = []*fakeKey{{id: "demo/gpg", private: publicOnly{gpg}}, {id: "demo/other", private: publicOnly{gpg}}}
	session := b.open(t, "CONFIG").handle
	compareGolden(t, "gpg-certificate", describe(t, b, session, b.object(t, class(ckoCertificate), text(ckaID, "demo/gpg")).handle))
	first, other := certificateOf(t, b, "demo/gpg"), certificateOf(t, b, "demo/other")
	if first.SerialNumber.Cmp(other.SerialNumber) == 0 || bytes.Equal(first.RawSubject, other.RawSubject) {
		t.Error("two policies have certificates with one name or serial number")
	}
}

// TestUnsignedCertificatesAreOfAnyKind of key that the service has.
func TestUnsignedCertificatesAreOfAnyKind(t *testing.T) {
	for name, private := range testKeys() {
		c, err := unsignedCertificate("demo/"+name, private.Public())
		if err != nil {
			t.Fatal(err)
		}
		same := false
		switch k := private.Public().(type) {
		case *rsa.PublicKey:
			same = k.Equal(c.PublicKey)
		case *ecdsa.PublicKey:
			same = k.Equal(c.PublicKey)
		}
		if !same {
			t.Errorf("%s: the certificate has another key", name)
		}
	}
}
