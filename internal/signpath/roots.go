package signpath

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// errNoRoots says itself what to do.
var errNoRoots = errors.New("no root certificates found to check the service's certificate with: " +
	"install the package ca-certificates, or name a PEM file in SIGNKIT_CA_FILE or SSL_CERT_FILE")

// roots are the certificates that servers are checked against: the system's, or those of
// SSL_CERT_FILE and SSL_CERT_DIR, and always those of the CA file in addition.
type roots struct {
	pool *x509.CertPool // for package tls; empty, so that nobody is trusted, until read has returned
	read func() error   // fills pool, once, with one root at least
}

// newRoots reads the CA file, and begins to read the others: that takes as long as a round
// trip to a service that is not far away.
func (c *Client) newRoots() (*roots, error) {
	r := &roots{pool: x509.NewCertPool()}
	var ca []byte
	if file := c.cfg.CAFile; file != "" {
		var err error
		if ca, err = appendRoots(x509.NewCertPool(), file); err != nil {
			return nil, fmt.Errorf("%s: %w", c.setting("SIGNKIT_CA_FILE"), err)
		}
	}
	r.read = sync.OnceValue(func() error {
		all, err := c.allRoots(ca)
		if err == nil {
			*r.pool = *all
		}
		return err
	})
	go func() { _ = r.read() }() // who dials gets the error
	return r, nil
}

// beside makes dial return when the roots are read, too: no handshake begins before.
func (r *roots) beside(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if err := r.read(); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
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
		return nil, fmt.Errorf("%s contains no PEM certificate", file)
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
