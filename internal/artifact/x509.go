package artifact

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/smallstep/pkcs7"

	"signkit/internal/key"
)

// X509 is a key on a PKCS#11 token, with its certificates.
type X509 struct {
	Key         string              // CKA_LABEL: PROJECT/POLICY
	Chain       []*x509.Certificate // leaf first
	Module      string              // path of the PKCS#11 module
	Authorities *Authorities        // give time-stamps; nil: none is wanted

	provider atomic.Bool // openssl has found pkcs11-provider
}

// environment of tools that load the module: libp11 reads the first variable, pkcs11-provider
// the second.
func (s *Signer) moduleEnvironment() []string {
	return append(slices.Clone(s.Environ),
		"PKCS11_MODULE_PATH="+s.X509.Module, "PKCS11_PROVIDER_MODULE="+s.X509.Module, "LC_ALL=C.UTF-8")
}

// uri names the key (RFC 7512). The PIN says that the credentials are in the environment; it
// stands in the path part, where libp11 wants it and pkcs11-provider takes it as well.
func (x *X509) uri() string {
	return "pkcs11:object=" + strings.ReplaceAll(x.Key, "/", "%2F") + ";type=private;pin-value=CONFIG"
}

// digest is the hash whose size fits the key, as openssl names it; Java has it in capitals.
func (x *X509) digest() string {
	hash := crypto.SHA256
	if ec, ok := x.Chain[0].PublicKey.(*ecdsa.PublicKey); ok {
		hash = key.CurveHash(ec)
	}
	named, _ := key.FindHash(hash)
	return named.Name
}

// opensslProvider reports whether openssl finds pkcs11-provider.
func (s *Signer) opensslProvider(ctx context.Context) bool {
	if s.X509.provider.Load() {
		return true
	}
	_, err := run(ctx, s.moduleEnvironment(), "", "openssl", "list", "-provider", "pkcs11", "-providers")
	s.X509.provider.Store(err == nil)
	return err == nil
}

// writeChain writes leaf and issuers as PEM.
func (s *Signer) writeChain(dir string) (string, error) {
	path := filepath.Join(dir, ".certificates.pem")
	return path, os.WriteFile(path, encodePEM(s.X509.Chain), 0o600)
}

func encodePEM(chain []*x509.Certificate) []byte {
	var data []byte
	for _, certificate := range chain {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return data
}

// systemRoots is where the distributions keep them: Debian's name, then RHEL's.
var systemRoots = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}

// roots returns the path of a PEM file with what Authenticode's verifier is to trust: Roots, or, where
// the signer alone was named, the roots of its chain and who issued its certificate, as far as the chain
// or one of the brought certificates says; and the system's roots where those count.
func (v verification) roots(brought []*x509.Certificate) (string, error) {
	if v.Roots != "" {
		return v.Roots, nil
	}
	var trusted []byte
	if v.SystemRoots || len(v.Chain) == 0 { // where nobody is named, nothing counts, but the verifier wants some
		trusted = readSystemRoots()
	}
	for _, certificate := range v.Chain {
		if isSelfIssued(certificate) {
			trusted = append(trusted, encodePEM([]*x509.Certificate{certificate})...)
		}
	}
	for _, leaf := range v.leaf() {
		issuer := issuerOf(leaf, slices.Concat(v.Chain[1:], brought)) // whoever brought it
		if issuer == nil {
			continue
		}
		anchor, err := encodeTrusted(issuer)
		if err != nil {
			return "", err
		}
		trusted = append(trusted, anchor...)
	}
	if len(trusted) == 0 {
		return "", errNoRoot
	}
	file := v.path("roots.pem")
	return file, os.WriteFile(file, trusted, 0o600)
}

var errNoRoot = errors.New("the certificate leads to no trusted root; name it with --root")

// encodeTrusted makes an end of chains for OpenSSL of a certificate that is no root (openssl-x509, "Trusted
// Certificates"): osslsigncode takes no partial chain. It is for all purposes, as a root is.
func encodeTrusted(certificate *x509.Certificate) ([]byte, error) {
	purposes, err := asn1.Marshal(struct{ Trust []asn1.ObjectIdentifier }{[]asn1.ObjectIdentifier{{2, 5, 29, 37, 0}}})
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "TRUSTED CERTIFICATE", Bytes: slices.Concat(certificate.Raw, purposes)}), nil
}

func isSelfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

func readSystemRoots() []byte {
	for _, bundle := range systemRoots {
		if data, err := os.ReadFile(bundle); err == nil {
			return append(data, '\n')
		}
	}
	return nil
}

// namedRoots are the certificates in Roots, all of them; none where no roots were named.
func (v *Verifier) namedRoots() ([]*x509.Certificate, error) {
	if v.Roots == "" {
		return nil, nil
	}
	data, err := os.ReadFile(v.Roots)
	if err != nil {
		return nil, err
	}
	var roots []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Roots, err)
		}
		roots = append(roots, root)
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("%s contains no PEM certificate", v.Roots)
	}
	return roots, nil
}

// signersOf are the certificates that made the signatures of a CMS SignedData (RFC 5652,
// section 5.3), as far as it brings them, or else known has them.
func signersOf(signed *pkcs7.PKCS7, known []*x509.Certificate) []*x509.Certificate {
	var signers []*x509.Certificate
	for _, info := range signed.Signers {
		id := info.IssuerAndSerialNumber
		for _, certificate := range slices.Concat(signed.Certificates, known) {
			if bytes.Equal(id.IssuerName.FullBytes, certificate.RawIssuer) && id.SerialNumber.Cmp(certificate.SerialNumber) == 0 {
				signers = append(signers, certificate)
				break
			}
		}
	}
	return signers
}

// acceptedSigners are the certificates of those signers who were named: the certificate as a
// whole is the one in Chain, and it leads to one of Roots, as far as each is there. Whether a
// signature is theirs is for the format's verifier, which must be told these certificates.
func (v *Verifier) acceptedSigners(blocks []*pkcs7.PKCS7) ([]*x509.Certificate, error) {
	var accepted, all []*x509.Certificate
	var refused error
	for _, block := range blocks {
		for _, signer := range signersOf(block, v.leaf()) {
			all = append(all, signer)
			if err := v.accepts(signer, block.Certificates); err != nil {
				refused = err
			} else if !slices.ContainsFunc(accepted, signer.Equal) {
				accepted = append(accepted, signer)
			}
		}
	}
	switch {
	case len(accepted) > 0:
		return accepted, nil
	case v.Roots == "" && len(v.Chain) == 0:
		return nil, &NotComparedError{Signers: subjects(all)}
	case len(all) == 0:
		return nil, errors.New("the signature names no certificate that it brings")
	}
	return nil, fmt.Errorf("signed by %s: %w", subjects(all), refused)
}

// NotComparedError is the error for a file that somebody has signed where nobody was named to
// have signed it: it says nothing about the file.
type NotComparedError struct {
	Signers string
}

func (e *NotComparedError) Error() string {
	return "signed by " + e.Signers + ", not compared with anything"
}

func (v *Verifier) leaf() []*x509.Certificate { return v.Chain[:min(1, len(v.Chain))] }

var errOtherSigner = errors.New("that is not the certificate that was named")

// accepts says whether a signer is one who was named. The chain is checked as of a time at which
// the certificate was valid; whether it is, or was when it signed, the format's verifier says.
func (v *Verifier) accepts(signer *x509.Certificate, issuers []*x509.Certificate) error {
	if v.Roots == "" && len(v.Chain) == 0 {
		return errOtherSigner
	}
	if len(v.Chain) > 0 && !signer.Equal(v.Chain[0]) {
		return errOtherSigner
	}
	roots, err := v.namedRoots()
	if err != nil || roots == nil {
		return err
	}
	if signer.KeyUsage != 0 && signer.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return errors.New("the certificate is not for signatures")
	}
	_, err = chains(signer, roots, slices.Concat(issuers, v.Chain))
	return err
}

// chains are those from a signer's certificate to one of roots, as of a time at which it was valid.
func chains(signer *x509.Certificate, roots, issuers []*x509.Certificate) ([][]*x509.Certificate, error) {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: time.Now(),
		// Neither a web server's nor a client's.
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageEmailProtection},
	}
	if options.CurrentTime.After(signer.NotAfter) {
		options.CurrentTime = signer.NotAfter
	}
	for _, root := range roots {
		options.Roots.AddCert(root)
	}
	for _, issuer := range issuers {
		options.Intermediates.AddCert(issuer)
	}
	return signer.Verify(options)
}

// unrevoked asks revocation lists about each accepted signer and those between it and a named root, or, where the
// certificate alone was named, about that one. A verifier takes any of the signers, so each must count.
func (v verification) unrevoked(ctx context.Context, accepted []*x509.Certificate, blocks []*pkcs7.PKCS7) error {
	if v.Revocation == nil {
		return nil
	}
	roots, err := v.namedRoots()
	if err != nil {
		return err
	}
	issuers := slices.Clone(v.Chain)
	for _, block := range blocks {
		issuers = append(issuers, block.Certificates...)
	}
	for _, signer := range accepted {
		paths := [][]*x509.Certificate{{signer}}
		switch {
		case roots != nil:
			if paths, err = chains(signer, roots, issuers); err != nil {
				return err
			}
		case !isSelfIssued(signer):
			issuer := issuerOf(signer, issuers)
			if issuer == nil {
				return fmt.Errorf("revocation of %q: its issuer's certificate is not there; add it to --certificate, behind the signer's", signer.Subject)
			}
			paths = [][]*x509.Certificate{{signer, issuer}}
		}
		for _, path := range paths {
			if err = v.Revocation.Check(ctx, path); err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// issuerOf is the certificate whose key has signed another one; nil where it is not there.
func issuerOf(certificate *x509.Certificate, known []*x509.Certificate) *x509.Certificate {
	i := slices.IndexFunc(known, func(issuer *x509.Certificate) bool {
		return bytes.Equal(certificate.RawIssuer, issuer.RawSubject) && certificate.CheckSignatureFrom(issuer) == nil
	})
	if i < 0 {
		return nil
	}
	return known[i]
}

// subjects lists certificates for a person.
func subjects(certificates []*x509.Certificate) string {
	var names []string
	for _, certificate := range certificates {
		if name := strconv.QuoteToGraphic(certificate.Subject.String()); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "nobody who is named"
	}
	return strings.Join(names, " and ")
}

var errNotVerified = errors.New("not verified")
