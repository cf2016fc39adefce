package signpath

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// useTLS gives a transport the roots and the client certificate of the settings.
func (c *Client) useTLS(t *http.Transport) error {
	roots, err := c.newRoots()
	if err != nil {
		return err
	}
	var certificates []tls.Certificate
	if file := c.cfg.TLSClientCertificateFile; file != "" {
		certificate, err := loadClientCertificate(file)
		if err != nil {
			return fmt.Errorf("%s: %w", c.setting("SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE"), err)
		}
		certificates = append(certificates, certificate)
	}
	t.DialContext = roots.beside(t.DialContext)
	t.TLSClientConfig = &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: roots.pool,
		// As package tls would choose, but it notes when it has nothing to offer: with TLS 1.3 the
		// refusal comes after the handshake and can be lost when the server hangs up.
		GetClientCertificate: func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			for i := range certificates {
				if asked.SupportsCertificate(&certificates[i]) == nil {
					return &certificates[i], nil
				}
			}
			c.withoutCertificate.Store(true)
			return new(tls.Certificate), nil
		},
	}
	if c.proxy != nil && c.proxy.Scheme == "https" {
		t.DialTLSContext = dialProxy(t.DialContext, t.TLSClientConfig, t.TLSHandshakeTimeout)
	}
	return nil
}

// dialProxy opens TLS connections to a proxy. A transport by itself would offer it HTTP/2, and
// then speak HTTP/1.1 all the same.
func dialProxy(dial dialFunc, config *tls.Config, limit time.Duration) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		config := config.Clone()
		config.NextProtos = nil
		config.ServerName, _, _ = net.SplitHostPort(address)
		secure := tls.Client(conn, config)
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secure, nil
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
