package mockapi

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

const year = 365 * 24 * time.Hour

// authority issues the signing certificates: a root and the intermediates
// below it, all with P-256 keys.
type authority struct {
	state    *stateDir
	selfSign bool     // leaves are their own root (chain length 1)
	issuers  []issuer // root first
}

type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority makes or reads the issuers for chains of the given length.
func newAuthority(state *stateDir, chainLength int) (*authority, error) {
	a := &authority{state: state, selfSign: chainLength == 1}
	for i := range max(chainLength-1, 1) {
		name, common := "signing-root", "Mock Signing Root CA"
		if i > 0 {
			name, common = fmt.Sprintf("signing-intermediate-%d", i), fmt.Sprintf("Mock Signing Intermediate CA %d", i)
		}
		if err := a.addIssuer(name, common); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *authority) addIssuer(name, common string) error {
	key, err := a.state.key(name, keyECDSA, 256)
	if err != nil {
		return err
	}
	parent := issuer{key: key}
	if len(a.issuers) > 0 {
		parent = a.issuers[len(a.issuers)-1]
	}
	cert, err := a.state.certificate(name, caTemplate(common), parent, key)
	if err != nil {
		return err
	}
	a.issuers = append(a.issuers, issuer{cert, key})
	return nil
}

// root is what verifiers must trust besides self-signed leaves; the time-stamp authority is under it.
func (a *authority) root() issuer { return a.issuers[0] }

// leafChain returns the code signing certificate of key and its issuers, leaf first, root last.
func (a *authority) leafChain(name, common string, key crypto.Signer) ([]*x509.Certificate, error) {
	parent := a.issuers[len(a.issuers)-1]
	if a.selfSign {
		parent = issuer{key: key}
	}
	leaf, err := a.state.certificate(name, leafTemplate(common), parent, key)
	if err != nil {
		return nil, err
	}
	chain := []*x509.Certificate{leaf}
	if a.selfSign {
		return chain, nil
	}
	for i := len(a.issuers) - 1; i >= 0; i-- {
		chain = append(chain, a.issuers[i].cert)
	}
	return chain, nil
}

// certificate reads keys/NAME.crt, or issues it where there is none that still
// fits: by that issuer, for that key, and not about to expire. An issuer
// without a certificate means self-signed.
func (s *stateDir) certificate(name string, template *x509.Certificate, parent issuer, key crypto.Signer) (*x509.Certificate, error) {
	if parent.cert == nil {
		parent.cert = template
	}
	file := "keys/" + name + ".crt"
	data, err := s.read(file)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(data); block != nil {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err == nil && fits(cert, template, parent, key) {
			return cert, nil
		}
	}
	template.SerialNumber = newSerial()
	template.SubjectKeyId = keyID(key.Public())
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		return nil, fmt.Errorf("issuing the certificate %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("issuing the certificate %s: %w", name, err)
	}
	return cert, s.write(file, pemCertificate(cert), 0o600)
}

func fits(cert, template *x509.Certificate, parent issuer, key crypto.Signer) bool {
	self := parent.cert == template
	signer := parent.cert
	if self {
		signer = cert
	}
	return bytes.Equal(cert.SubjectKeyId, keyID(key.Public())) &&
		cert.Subject.CommonName == template.Subject.CommonName &&
		time.Until(cert.NotAfter) > 24*time.Hour &&
		signer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil &&
		(self || bytes.Equal(cert.RawIssuer, parent.cert.RawSubject))
}

// keyID is the identifier of RFC 7093, section 2, method 1: no SHA-1 needed.
func keyID(public crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(der)
	return sum[:20]
}

func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] = b[0]&0x7f | 0x40 // positive, and always of the same length
	return new(big.Int).SetBytes(b[:])
}

func pemCertificate(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func subject(common string) pkix.Name {
	return pkix.Name{CommonName: common, Organization: []string{"signkit mock service (not for production)"}}
}

func caTemplate(common string) *x509.Certificate {
	now := time.Now().Add(-backdate)
	return &x509.Certificate{
		Subject: subject(common), NotBefore: now, NotAfter: now.Add(15 * year),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true,
	}
}

func leafTemplate(common string) *x509.Certificate {
	now := time.Now().Add(-backdate)
	return &x509.Certificate{
		Subject: subject(common), NotBefore: now, NotAfter: now.Add(2 * year),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		// Critical basic constraints with cA FALSE: some verifiers ask for them.
		BasicConstraintsValid: true,
	}
}
