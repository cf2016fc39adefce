package artifact

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smallstep/pkcs7"
)

// X509 is a key on a PKCS#11 token, with its certificates.
type X509 struct {
	Key    string              // CKA_LABEL: PROJECT/POLICY
	Chain  []*x509.Certificate // leaf first
	Module string              // path of the PKCS#11 module
	TSA    []string            // RFC 3161 time-stamp authorities, tried in this order; may be empty
	CAFile string              // roots for the authorities' TLS besides the system's, PEM; may be empty
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

// digest is the hash whose size fits the key, as Java and openssl name it in lower case.
func (x *X509) digest() string {
	key, ok := x.Chain[0].PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || key.Curve.Params().BitSize <= 256:
		return "sha256"
	case key.Curve.Params().BitSize <= 384:
		return "sha384"
	}
	return "sha512"
}

// opensslProvider reports whether openssl finds pkcs11-provider.
func (s *Signer) opensslProvider(ctx context.Context) bool {
	_, err := run(ctx, s.moduleEnvironment(), "", "openssl", "list", "-provider", "pkcs11", "-providers")
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

// roots returns the path of a PEM file with what the user trusts. Without a choice of theirs
// that is the system's roots and, where the signer's chain is known, the root at its end.
func (v verification) roots() (string, error) {
	if v.Roots != "" {
		return v.Roots, nil
	}
	trusted := readSystemRoots()
	for _, certificate := range v.Chain {
		if bytes.Equal(certificate.RawSubject, certificate.RawIssuer) {
			trusted = append(trusted, encodePEM([]*x509.Certificate{certificate})...)
		}
	}
	file := v.path("roots.pem")
	return file, os.WriteFile(file, trusted, 0o600)
}

func readSystemRoots() []byte {
	for _, bundle := range systemRoots {
		if data, err := os.ReadFile(bundle); err == nil {
			return append(data, '\n')
		}
	}
	return nil
}

// signedBy reports whether the CMS SignedData names the certificate as that of a signer (RFC
// 5652, section 5.3).
func signedBy(block []byte, signer *x509.Certificate) bool {
	signed, err := pkcs7.Parse(block)
	if err != nil {
		return false
	}
	for _, info := range signed.Signers {
		id := info.IssuerAndSerialNumber
		if bytes.Equal(id.IssuerName.FullBytes, signer.RawIssuer) && id.SerialNumber.Cmp(signer.SerialNumber) == 0 {
			return true
		}
	}
	return false
}

var errNotVerified = errors.New("not verified")
