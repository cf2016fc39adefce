package signpath

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// tlsConfig has the roots and the client certificate of the settings.
func (c *Client) tlsConfig() (*tls.Config, error) {
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if file := c.cfg.TLSClientCertificateFile; file != "" {
		certificate, err := loadClientCertificate(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.setting("SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE"), err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// roots are the system's, or those of SSL_CERT_FILE and SSL_CERT_DIR, and always those of
// the CA file in addition.
func (c *Client) roots() (*x509.CertPool, error) {
	pool, err := c.systemRoots()
	if err != nil {
		return nil, err
	}
	if c.cfg.CAFile != "" {
		if err := appendRoots(pool, c.cfg.CAFile); err != nil {
			return nil, fmt.Errorf("%s: %w", c.setting("SIGNKIT_CA_FILE"), err)
		}
	}
	if pool.Equal(x509.NewCertPool()) {
		return nil, errors.New("no root certificates found to check the service's certificate with: " +
			"install the package ca-certificates, or name a PEM file in SIGNKIT_CA_FILE or SSL_CERT_FILE")
	}
	return pool, nil
}

func (c *Client) systemRoots() (*x509.CertPool, error) {
	if c.cfg.SSLCertFile == "" && c.cfg.SSLCertDir == "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("reading the system's root certificates: %w", err)
		}
		return pool, nil
	}
	pool := x509.NewCertPool()
	if file := c.cfg.SSLCertFile; file != "" {
		if err := appendRoots(pool, file); err != nil {
			c.log.Warn("SSL_CERT_FILE is set but not usable", "error", err)
		}
	}
	for dir := range strings.SplitSeq(c.cfg.SSLCertDir, ":") {
		appendDirectory(pool, dir)
	}
	return pool, nil
}

// appendRoots adds the certificates of a PEM file; none in it is an error.
func appendRoots(pool *x509.CertPool, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading root certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(data) {
		return fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return nil
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

// loadClientCertificate reads a PEM file with a certificate, its issuers and its key.
func loadClientCertificate(file string) (tls.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading the TLS client certificate: %w", err)
	}
	certificates, keys := 0, 0
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case block.Type == "CERTIFICATE":
			certificates++
		case strings.Contains(block.Type, "ENCRYPTED") || bytes.Contains([]byte(block.Headers["Proc-Type"]), []byte("ENCRYPTED")):
			return tls.Certificate{}, fmt.Errorf("%s: the private key is encrypted; store it without a passphrase, readable by its user alone", file)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			keys++
		}
	}
	if certificates == 0 || keys == 0 {
		return tls.Certificate{}, fmt.Errorf("%s must hold a certificate and its private key in PEM form (found %d and %d)",
			file, certificates, keys)
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", file, err)
	}
	return pair, nil
}
