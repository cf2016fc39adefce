package signpath

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
)

// secure is what the TLS connections of one client have in common.
type secure struct {
	trust        *trust
	certificates []tls.Certificate // that of the settings, if there is one
	withoutOne   *atomic.Bool      // set when a server asks for a certificate and gets none
}

// newSecure reads the CA file and the client certificate of the settings.
func (c *Client) newSecure() (*secure, error) {
	s := &secure{withoutOne: &c.withoutCertificate}
	var err error
	if s.trust, err = c.newTrust(); err != nil {
		return nil, err
	}
	if file := c.cfg.TLSClientCertificateFile; file != "" {
		certificate, err := loadClientCertificate(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.setting("SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE"), err)
		}
		s.certificates = []tls.Certificate{certificate}
	}
	return s, nil
}

// config is for connections to one host (a name or an IP address) and to no other.
func (s *secure) config(host string, protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: host, NextProtos: protocols, GetClientCertificate: s.clientCertificate,
		// The check that package tls would do needs all roots in advance, and reading the
		// system's takes longer than the whole handshake. VerifyConnection does the same
		// check, with the same errors: on every connection, resumed ones too, and before the
		// handshake is complete, so before anything that is secret can be sent.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			// Not state.ServerName, which is empty where the host is an IP address.
			return s.trust.verify(host, state.PeerCertificates)
		},
	}
}

// clientCertificate chooses as package tls would, and notes when it has nothing to offer:
// with TLS 1.3 the refusal comes after the handshake and can be lost when the server hangs up.
func (s *secure) clientCertificate(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	for i := range s.certificates {
		if asked.SupportsCertificate(&s.certificates[i]) == nil {
			return &s.certificates[i], nil
		}
	}
	s.withoutOne.Store(true)
	return new(tls.Certificate), nil
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
