package signpath

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Certificate downloads the X.509 certificate of a signing policy.
func (c *Client) Certificate(ctx context.Context, project, policy string) (*x509.Certificate, error) {
	q := get(0, "Projects", project, "SigningPolicies", policy, "Certificate", "X509Certificate")
	a, err := c.download(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("downloading the certificate of %s/%s: %w", project, policy, err)
	}
	certificate, err := parseCertificate(a.body)
	if err != nil {
		return nil, fmt.Errorf("the certificate of %s/%s: %w", project, policy, err)
	}
	return certificate, nil
}

// GPGPublicKey downloads the transferable OpenPGP public key (RFC 9580, section 10.1) of a
// signing policy as the service sends it: armored or not. pgpkey.Parse reads both.
func (c *Client) GPGPublicKey(ctx context.Context, project, policy string) ([]byte, error) {
	q := get(0, "Projects", project, "SigningPolicies", policy, "Certificate", "GpgPublicKey")
	a, err := c.download(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("downloading the GPG public key of %s/%s: %w", project, policy, err)
	}
	return a.body, nil
}

// download is send for answers that are files; a web page is none.
func (c *Client) download(ctx context.Context, q call) (*answer, error) {
	a, err := c.send(ctx, q)
	if err != nil || !isHTML(a.header, bytes.TrimSpace(a.body)) {
		return a, err
	}
	return nil, &Error{failure: c.notTheAPI(), Method: q.method, Path: c.path(q), Status: a.status,
		cause: "a web page instead of a file" + c.pageTitle(a.body)}
}

// parseCertificates reads one certificate in DER, or one or more in PEM.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	if !bytes.Contains(data, []byte("-----BEGIN")) {
		certificate, err := x509.ParseCertificate(data)
		if err != nil {
			return nil, fmt.Errorf("parsing: %w", err)
		}
		return []*x509.Certificate{certificate}, nil
	}
	var list []*x509.Certificate
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing: %w", err)
		}
		list = append(list, certificate)
	}
	if len(list) == 0 {
		return nil, errors.New("no certificate in the PEM text")
	}
	return list, nil
}
