package signpath

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// errNoRoots says itself what to do.
var errNoRoots = errors.New("no root certificates found to check the service's certificate with: " +
	"install the package ca-certificates, or name a PEM file in SIGNKIT_CA_FILE or SSL_CERT_FILE")

// trust decides which servers are the right ones. Roots are the system's, or those of
// SSL_CERT_FILE and SSL_CERT_DIR, and always those of the CA file in addition.
type trust struct {
	extra *x509.CertPool                 // of the CA file; nil: none is set
	all   func() (*x509.CertPool, error) // every root, never none; reads once and takes long
}

// newTrust reads the CA file alone.
func (c *Client) newTrust() (*trust, error) {
	t := new(trust)
	var ca []byte
	if file := c.cfg.CAFile; file != "" {
		var err error
		t.extra = x509.NewCertPool()
		if ca, err = appendRoots(t.extra, file); err != nil {
			return nil, fmt.Errorf("%s: %w", c.setting("SIGNKIT_CA_FILE"), err)
		}
	}
	t.all = sync.OnceValues(func() (*x509.CertPool, error) { return c.allRoots(ca) })
	return t, nil
}

// readAhead reads, in the background, the roots that verify will surely need. With a CA
// file that is not so: its roots are tried first.
func (t *trust) readAhead() {
	if t.extra == nil {
		go func() { _, _ = t.all() }() // verify gets the error
	}
}

// verify is what package tls does unless told otherwise: a chain from the first certificate
// to a root, all valid now and meant for servers, and the host's name in the first. The
// others are the server's issuers. Where the CA file's roots do not verify it, whatever the
// reason, all roots decide, and so the error is the one that they give.
func (t *trust) verify(host string, certificates []*x509.Certificate) error {
	if host == "" || len(certificates) == 0 {
		return errors.New("tls: no host name or no certificate to verify") // Verify would not look at the name
	}
	options := x509.VerifyOptions{
		DNSName: host, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, issuer := range certificates[1:] {
		options.Intermediates.AddCert(issuer)
	}
	if options.Roots = t.extra; t.extra != nil {
		if _, err := certificates[0].Verify(options); err == nil {
			return nil
		}
	}
	var err error
	if options.Roots, err = t.all(); err == nil {
		_, err = certificates[0].Verify(options)
	}
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: certificates, Err: err}
	}
	return nil
}

func (c *Client) allRoots(ca []byte) (*x509.CertPool, error) {
	pool, err := c.systemRoots()
	if err != nil {
		c.log.Warn("the system's root certificates cannot be read", "error", err)
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(ca)
	if pool.Equal(x509.NewCertPool()) {
		return nil, errNoRoots
	}
	return pool, nil
}

func (c *Client) systemRoots() (*x509.CertPool, error) {
	if c.cfg.SSLCertFile == "" && c.cfg.SSLCertDir == "" {
		return x509.SystemCertPool()
	}
	pool := x509.NewCertPool()
	if file := c.cfg.SSLCertFile; file != "" {
		if _, err := appendRoots(pool, file); err != nil {
			c.log.Warn("SSL_CERT_FILE is set but not usable", "error", err)
		}
	}
	for dir := range strings.SplitSeq(c.cfg.SSLCertDir, ":") {
		appendDirectory(pool, dir)
	}
	return pool, nil
}

// appendRoots adds the certificates of a PEM file, which it returns; none in it is an error.
func appendRoots(pool *x509.CertPool, file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading root certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return data, nil
}

// appendDirectory skips what is no certificate, as every reader of such a directory does.
func appendDirectory(pool *x509.CertPool, dir string) {
	if dir == "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return
	}
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil {
			pool.AppendCertsFromPEM(data)
		}
	}
}
