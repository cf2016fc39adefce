package mockapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// CheckHealth asks the service that uses a state folder on this machine
// whether it is well. The service must be the one that wrote the folder last.
func CheckHealth(ctx context.Context, stateDir string) error {
	address, err := os.ReadFile(filepath.Join(stateDir, localURLFile))
	if err != nil {
		return fmt.Errorf("reading the state folder (--state): %w", err)
	}
	url := strings.TrimSpace(string(address)) + "/healthz"
	transport := &http.Transport{TLSClientConfig: &tls.Config{}} // no proxy: it is this machine
	defer transport.CloseIdleConnections()
	if strings.HasPrefix(url, "https:") {
		if transport.TLSClientConfig.RootCAs, err = readPool(filepath.Join(stateDir, "ca.pem")); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("asking for health: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("asking for health: GET %s: %s", url, answer.Status)
	}
	return nil
}

func readPool(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the authority of the server: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("reading the authority of the server: %s holds no certificate", file)
	}
	return pool, nil
}
