package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"

	"signkit/internal/mockapi"
)

// service is a mock signing service in a container, behind a relay. One test at a time has it, see borrow.
type service struct {
	pool     *dockertest.Pool
	resource *dockertest.Resource
	relay    *relay
	state    string // its state folder, on this machine
	ca       string // the authority of all relays, on this machine
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

// fault is something that the service does wrong; see cmd/signkit-mockapi/README.md.
type fault struct {
	Route      string `json:"route"`
	Kind       string `json:"kind"`
	Status     int    `json:"status,omitempty"`
	RetryAfter int    `json:"retry_after,omitempty"`
	Count      int    `json:"count,omitempty"`
}

// startServices starts one service more than tests run in parallel. All have the same keys, users and tokens.
func (s *setup) startServices() error {
	host, err := s.host()
	if err != nil {
		return err
	}
	id, err := newIdentity(net.ParseIP(host), net.IPv4(127, 0, 0, 1))
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(flag.Lookup("test.parallel").Value.String())
	if err != nil {
		return err
	}
	ca := filepath.Join(s.work, "relay.pem")
	if err := id.write(ca); err != nil {
		return err
	}
	s.services = make(chan *service, number+1)
	for i := range number + 1 {
		started, err := s.startService(i, id, host)
		if started != nil {
			started.ca = ca
			s.all = append(s.all, started)
		}
		if err != nil {
			return err
		}
		s.services <- started
	}
	return nil
}

// host is this machine's address in the containers' network.
func (s *setup) host() (string, error) {
	for _, config := range s.network.Network.IPAM.Config {
		if config.Gateway != "" {
			return config.Gateway, nil
		}
	}
	info, err := s.pool.Client.NetworkInfo(s.network.Network.ID)
	if err != nil {
		return "", err
	}
	for _, config := range info.IPAM.Config {
		if config.Gateway != "" {
			return config.Gateway, nil
		}
	}
	return "", errors.New("the container network has no gateway")
}

func (s *setup) startService(number int, id *identity, host string) (*service, error) {
	state, err := os.MkdirTemp("", "signkit-service-")
	if err != nil {
		return nil, err
	}
	m := &service{pool: s.pool, state: state}
	if number == 0 {
		err = writeConfig(filepath.Join(state, "config.json"))
	} else {
		err = m.copyKeys(s.all[0].state)
	}
	if err != nil {
		return m, err
	}
	name := fmt.Sprintf("signing-service-%d-%d", os.Getpid(), number)
	m.resource, err = s.pool.RunWithOptions(&dockertest.RunOptions{
		Name: name, Repository: "signkit-mockapi", Networks: []*dockertest.Network{s.network},
		Cmd:  []string{"serve", "--listen", ":8443", "--state", "/state", "--config", "/state/config.json"},
		User: fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()),
	}, func(h *docker.HostConfig) { h.Binds = []string{state + ":/state"} })
	if err != nil {
		return m, fmt.Errorf("starting the mock service: %w", err)
	}
	_ = m.resource.Expire(3600) // should this process be killed
	if err := m.await(); err != nil {
		return m, err
	}
	return m, m.connect(id, host, m.resource.GetIPInNetwork(s.network))
}

// writeConfig adds to the built-in configuration the names that README.md uses, and what failures need.
func writeConfig(file string) error {
	config := mockapi.DefaultConfig()
	demo := &config.Organizations[0]
	demo.Users[slices.IndexFunc(demo.Users, func(u mockapi.User) bool { return u.Name == "observer" })].Token = observerToken
	demo.Projects = append(demo.Projects, mockapi.Project{Slug: "my-project", Policies: []mockapi.Policy{
		{Slug: "release-signing", Certificate: "rsa-3072", Submitters: []string{"ci"}},
	}})
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// observerToken belongs to a user who may submit to no policy.
var observerToken = rand.Text() + rand.Text()

// copyKeys takes the first service's state over once all its keys are made, which is when it has listed all policies.
func (m *service) copyKeys(first string) error {
	if err := os.Remove(m.state); err != nil {
		return err
	}
	if err := os.CopyFS(m.state, os.DirFS(first)); err != nil {
		return err
	}
	return os.Remove(filepath.Join(m.state, "env")) // its own tells that it is ready
}

// await waits until the service has written its settings, and reads them.
func (m *service) await() error {
	file := filepath.Join(m.state, "env")
	m.pool.MaxWait = 5 * time.Minute
	err := m.pool.Retry(func() error {
		_, err := os.Stat(file)
		return err
	})
	if err != nil {
		return fmt.Errorf("the mock service is not ready: %w", err)
	}
	m.env, err = readExports(file)
	return err
}

// connect opens the two ways in: the admin side for tests, the relay for tools.
func (m *service) connect(id *identity, host, ip string) error {
	ca, err := os.ReadFile(filepath.Join(m.state, "ca.pem"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	trust := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	m.client = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{TLSClientConfig: trust}}
	m.admin = "https://" + ip + ":8443/_mock/"
	if m.relay, err = startRelay(id, host, ip+":8443", trust); err != nil {
		return err
	}
	return m.listAll()
}

// listAll asks for all policies, which waits until all keys are made.
func (m *service) listAll() error {
	req, err := http.NewRequest(http.MethodGet, strings.TrimSuffix(m.admin, "_mock/")+"Api/v1/"+
		m.setting("SIGNPATH_ORGANIZATION_ID")+"/Cryptoki/MySigningPolicies", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+m.setting("SIGNPATH_API_TOKEN"))
	resp, err := m.client.Do(req)
	if err != nil {
		return fmt.Errorf("listing the mock service's policies: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("listing the mock service's policies: %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (m *service) stop() error {
	var errs []error
	if m.relay != nil {
		m.relay.down()
	}
	if m.resource != nil {
		errs = append(errs, m.pool.Purge(m.resource))
	}
	return errors.Join(append(errs, os.RemoveAll(m.state))...)
}

// borrow waits for a free service and has it to itself until the test ends.
func (s *setup) borrow(t *testing.T) *service {
	t.Helper()
	var m *service
	select {
	case m = <-s.services:
	case <-time.After(2 * commandLimit):
		t.Fatalf("all %d mock services are in use", len(s.all))
	}
	t.Cleanup(func() { s.services <- m })
	m.call(t, http.MethodDelete, "faults", nil)
	m.clearRequests(t)
	return m
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

// caFile is the authority of the service as tools see it, that is, of its relay.
func (m *service) caFile() string { return m.ca }

// binds is what a tool container mounts of the service: its CA, nothing else.
func (m *service) binds() []string { return []string{m.caFile() + ":" + caInContainer + ":ro"} }

// setting is a value that the service wrote into its env file.
func (m *service) setting(name string) string {
	for _, v := range m.env {
		if value, found := strings.CutPrefix(v, name+"="); found {
			return value
		}
	}
	return ""
}

// settings are the variables that let a tool container sign; later ones win over earlier ones.
func (m *service) settings(more ...string) []string {
	env := map[string]string{
		"SIGNPATH_API_URL": "https://" + m.relay.address + "/Api",
		"SIGNKIT_TSA_URL":  "https://" + m.relay.address + "/tsa",
		"SIGNKIT_CA_FILE":  caInContainer,
	}
	for _, name := range []string{"SIGNPATH_ORGANIZATION_ID", "SIGNPATH_API_TOKEN"} {
		env[name] = m.setting(name)
	}
	for _, v := range more {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	var list []string
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

func (m *service) call(t *testing.T, method, path string, body []byte) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, m.admin+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := m.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %v", method, path, resp.Status, err)
	}
	return answer
}

// fail makes the service do what the faults say, until each is used up or the test ends.
func (m *service) fail(t *testing.T, faults ...fault) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"faults": faults})
	if err != nil {
		t.Fatal(err)
	}
	m.call(t, http.MethodPut, "faults", text)
}

func (m *service) clearRequests(t *testing.T) {
	t.Helper()
	m.call(t, http.MethodDelete, "requests", nil)
	m.relay.reset()
}

func (m *service) requests(t *testing.T) []request {
	t.Helper()
	var list []request
	if err := json.Unmarshal(m.call(t, http.MethodGet, "requests", nil), &list); err != nil {
		t.Fatal(err)
	}
	// The container checks its health by itself.
	return slices.DeleteFunc(list, func(r request) bool { return strings.HasSuffix(r.Path, "/healthz") })
}

// wantRequests checks how many requests were made on how many connections since the test began or clearRequests, by what
// the service has noted and by what the relay has seen. A connection that was opened ahead of need and not used is allowed
// where no request was made.
func (m *service) wantRequests(t *testing.T, requests, connections int) {
	t.Helper()
	list := m.requests(t)
	used := map[int64]bool{}
	for _, r := range list {
		used[r.Connection] = true
	}
	if len(list) != requests || len(used) != connections {
		t.Errorf("the service counts %d requests on %d connections, want %d on %d: %+v", len(list), len(used), requests, connections, list)
	}
	// The relay passes a request on before it has counted it.
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, r := m.relay.counts(); r >= requests {
			break
		}
	}
	if c, r := m.relay.counts(); r != requests || c != connections && (requests > 0 || c > 1) {
		t.Errorf("the relay counts %d requests on %d connections, want %d on %d", r, c, requests, connections)
	}
}
