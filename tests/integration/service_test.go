package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"
)

// service is the mock signing service in a container, reached by its name from other containers.
type service struct {
	pool     *dockertest.Pool
	resource *dockertest.Resource
	name     string
	state    string // its state folder, on this machine
	env      []string
	client   *http.Client // for its admin side
	admin    string
}

// request is what the service was asked.
type request struct {
	Method     string `json:"method"`
	Path       string `json:"path"`
	Status     int    `json:"status"`
	Connection int64  `json:"connection"`
}

func startService(pool *dockertest.Pool, network *dockertest.Network) (*service, error) {
	state, err := os.MkdirTemp("", "signkit-service-")
	if err != nil {
		return nil, err
	}
	s := &service{pool: pool, state: state, name: fmt.Sprintf("signing-service-%d", os.Getpid())}
	s.resource, err = pool.RunWithOptions(&dockertest.RunOptions{
		Name: s.name, Repository: "signkit-mockapi", Networks: []*dockertest.Network{network},
		Cmd:          []string{"serve", "--listen", ":8443", "--host", s.name, "--host", "127.0.0.1", "--state", "/state"},
		User:         fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()),
		PortBindings: map[docker.Port][]docker.PortBinding{"8443/tcp": {{HostIP: "127.0.0.1", HostPort: "0"}}},
	}, func(h *docker.HostConfig) { h.Binds = []string{state + ":/state"} })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the mock service: %w", err), os.RemoveAll(state))
	}
	_ = s.resource.Expire(3600) // should this process be killed
	if err := s.await(); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// await waits until the service has written its settings, and reads them.
func (s *service) await() error {
	file := filepath.Join(s.state, "env")
	s.pool.MaxWait = 30 * time.Second
	err := s.pool.Retry(func() error {
		_, err := os.Stat(file)
		return err
	})
	if err != nil {
		return fmt.Errorf("the mock service is not ready: %w", err)
	}
	if s.env, err = readExports(file); err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(s.state, "ca.pem"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	s.client = &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: s.name}},
	}
	s.admin = "https://" + s.resource.GetHostPort("8443/tcp") + "/_mock/"
	return nil
}

func (s *service) stop() error {
	return errors.Join(s.pool.Purge(s.resource), os.RemoveAll(s.state))
}

// readExports reads lines of the form export NAME='VALUE'.
func readExports(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var env []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "export "))
		name, value, found := strings.Cut(line, "=")
		if !found || strings.HasPrefix(line, "#") {
			continue
		}
		env = append(env, name+"="+strings.Trim(value, `'"`))
	}
	return env, nil
}

const caInContainer = "/run/signkit/ca.pem"

// binds is what a tool container mounts of the service: its CA, nothing else.
func (s *service) binds() []string {
	return []string{filepath.Join(s.state, "ca.pem") + ":" + caInContainer + ":ro"}
}

// settings are the variables that let a tool container sign; later ones win over earlier ones.
func (s *service) settings(more ...string) []string {
	env := map[string]string{}
	for _, v := range append(append(append([]string{}, s.env...), "SIGNKIT_CA_FILE="+caInContainer), more...) {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	var list []string
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

func (s *service) call(t *testing.T, method, path string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, s.admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %v", method, path, resp.Status, err)
	}
	return body
}

func (s *service) clearRequests(t *testing.T) {
	t.Helper()
	s.call(t, http.MethodDelete, "requests")
}

func (s *service) requests(t *testing.T) []request {
	t.Helper()
	var list []request
	if err := json.Unmarshal(s.call(t, http.MethodGet, "requests"), &list); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(r request) bool { return strings.HasSuffix(r.Path, "/healthz") }) // the container's own health check
}

// wantRequests checks how many requests were made since clearRequests, and that they shared one connection.
func (s *service) wantRequests(t *testing.T, want int) {
	t.Helper()
	list := s.requests(t)
	connections := map[int64]bool{}
	for _, r := range list {
		connections[r.Connection] = true
	}
	if len(list) != want || (want > 0 && len(connections) != 1) {
		t.Errorf("%d requests on %d connections, want %d on 1: %+v", len(list), len(connections), want, list)
	}
}
