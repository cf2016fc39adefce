package mockapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"

	"signkit/internal/mockapi"
)

// start brings a service up for one test; cfg nil is the built-in configuration.
func start(t *testing.T, cfg *mockapi.Config) *mockapi.Server {
	t.Helper()
	s, err := mockapi.Start(mockapi.Options{StateDir: t.TempDir(), Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("stopping the service: %v", err)
		}
	})
	return s
}

// clientFor trusts the service's own authority and nothing else.
func clientFor(t *testing.T, s *mockapi.Server) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("%s holds no certificate", s.CAFile())
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: bound}
}

var sharedServer struct {
	once   sync.Once
	server *mockapi.Server
	err    error
}

// TestMain stops the service that tests share.
func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "mockapi-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	sharedDir = dir
	code := m.Run()
	if s := sharedServer.server; s != nil {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		s.Close(ctx)
		cancel()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

var sharedDir string

// shared is one service with the built-in configuration. Tests that use it
// change nothing: no faults, no clearing of its request log.
func shared(t *testing.T) (*mockapi.Server, *http.Client) {
	t.Helper()
	sharedServer.once.Do(func() {
		sharedServer.server, sharedServer.err = mockapi.Start(mockapi.Options{StateDir: sharedDir})
	})
	if sharedServer.err != nil {
		t.Fatal(sharedServer.err)
	}
	return sharedServer.server, clientFor(t, sharedServer.server)
}
