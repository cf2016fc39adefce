package token

import (
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

// oidUnsigned says that a certificate has no signature (RFC 9925, section 3.1).
// A verifier takes it for an unknown algorithm and refuses.
var oidUnsigned = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 6, 36}

var (
	oidSubjectKeyID = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 15}
)

// x509Certificate and its parts are those of RFC 5280, section 4.1.
type x509Certificate struct {
	TBS       tbsCertificate
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

type tbsCertificate struct {
	Version      int `asn1:"explicit,tag:0"`
	SerialNumber *big.Int
	Algorithm    pkix.AlgorithmIdentifier
	Issuer       pkix.RDNSequence
	Validity     validity
	Subject      pkix.RDNSequence
	PublicKey    publicKeyInfo
	Extensions   []pkix.Extension `asn1:"explicit,tag:3"`
}

type validity struct{ NotBefore, NotAfter time.Time }

type publicKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	PublicKey asn1.BitString
}

// unsignedCertificate makes the certificate that a key without one is shown with:
// tools such as gnupg-pkcs11-scd find keys by certificates only. It says nothing
// but the policy's name and the public key, is the same each time, and is an
// unsigned one (RFC 9925), since a signature of its own would be a signing
// request for every process.
func unsignedCertificate(id string, public crypto.PublicKey) (*x509.Certificate, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	var info publicKeyInfo
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	extensions, err := endEntityExtensions(info.PublicKey.Bytes)
	if err != nil {
		return nil, err
	}
	name := pkix.Name{CommonName: id}.ToRDNSequence()
	unsigned := pkix.AlgorithmIdentifier{Algorithm: oidUnsigned}
	der, err = asn1.Marshal(x509Certificate{
		TBS: tbsCertificate{
			Version: 2, SerialNumber: derivedSerial(id, der), Algorithm: unsigned,
			Issuer: name, Subject: name, PublicKey: info, Extensions: extensions,
			// The key's own dates are not known here. The end is that of RFC 5280, section
			// 4.1.2.5, for certificates without one.
			Validity: validity{time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		},
		Algorithm: unsigned,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// derivedSerial is 16 bytes long whatever the hash begins with, and positive.
func derivedSerial(id string, publicKey []byte) *big.Int {
	sum := sha256.Sum256(append([]byte(id+"\x00"), publicKey...))
	sum[0] = sum[0]&0x7F | 0x40
	return new(big.Int).SetBytes(sum[:16])
}

// endEntityExtensions are the key id, as RFC 5280, section 4.2.1.2, method 1, and
// the key usage digitalSignature.
func endEntityExtensions(publicKey []byte) ([]pkix.Extension, error) {
	sum := sha1.Sum(publicKey)
	keyID, err := asn1.Marshal(sum[:])
	if err != nil {
		return nil, fmt.Errorf("encoding the key id: %w", err)
	}
	usage, err := asn1.Marshal(asn1.BitString{Bytes: []byte{0x80}, BitLength: 1})
	if err != nil {
		return nil, fmt.Errorf("encoding the key usage: %w", err)
	}
	return []pkix.Extension{{Id: oidSubjectKeyID, Value: keyID}, {Id: oidKeyUsage, Critical: true, Value: usage}}, nil
}
