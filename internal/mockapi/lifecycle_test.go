package mockapi_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signkit/internal/mockapi"
)

func stop(t *testing.T, s *mockapi.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestRestartKeepsIdentityKeysAndAuthorities(t *testing.T) {
	dir := t.TempDir()
	type memory struct{ organization, token, second, key, leaf, ca, root string }
	var before memory
	for i := range 2 {
		s, err := mockapi.Start(mockapi.Options{StateDir: dir, Config: fastConfig()})
		if err != nil {
			t.Fatal(err)
		}
		x := first(t, s)
		p := x.policies(t, "?signingPolicySlug=p-256")[0]
		ca, _ := os.ReadFile(s.CAFile())
		root, _ := os.ReadFile(s.RootFile())
		now := memory{s.OrganizationID(), s.Token(), s.SecondToken(), string(p.PublicKeyBytes), string(p.CertificateBytes), string(ca), string(root)}
		if i == 1 && now != before {
			t.Error("the second start does not know the first one's identity, keys or certificates")
		}
		before = now
		x.client.CloseIdleConnections()
		stop(t, s)
	}
}

func TestStopEndsHangingRequestsAndUnusedConnections(t *testing.T) {
	s, err := mockapi.Start(mockapi.Options{StateDir: t.TempDir(), Config: fastConfig()})
	if err != nil {
		t.Fatal(err)
	}
	x := first(t, s)
	if err := s.SetFaults([]mockapi.Fault{{Route: "policies", Kind: "hang", Count: -1}}); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(s.APIURL())
	if err != nil {
		t.Fatal(err)
	}
	idle, err := tls.Dial("tcp", address.Host, &tls.Config{RootCAs: rootPool(t, s.CAFile())})
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	done := make(chan error, 1)
	go func() { _, _, err := x.ask(t); done <- err }()
	until(t, "the request arrives", func() bool { return len(s.Requests()) > 0 })
	stop(t, s) // an error, if it waited for one of them
	if err := await(t, done); err == nil {
		t.Error("the hanging request was answered")
	}
}

func TestPlainHTTPIsForLoopbackOnly(t *testing.T) {
	if s, err := mockapi.Start(mockapi.Options{Listen: "0.0.0.0:0", StateDir: t.TempDir(), PlainHTTP: true}); err == nil {
		stop(t, s)
		t.Fatal("plain HTTP is served on every interface")
	} else if !strings.Contains(err.Error(), "--plain-http") {
		t.Errorf("the error names no flag: %v", err)
	}
	s, err := mockapi.Start(mockapi.Options{StateDir: t.TempDir(), PlainHTTP: true, Config: fastConfig()})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	if !strings.HasPrefix(s.APIURL(), "http://127.0.0.1:") || s.CAFile() != "" {
		t.Errorf("URL %s, CA file %q", s.APIURL(), s.CAFile())
	}
	if err := mockapi.CheckHealth(t.Context(), filepath.Dir(s.RootFile())); err != nil {
		t.Error(err)
	}
}

func TestHostsAreInTheCertificateAndTheFirstInTheURL(t *testing.T) {
	dir := t.TempDir()
	s, err := mockapi.Start(mockapi.Options{Listen: "0.0.0.0:0", Hosts: []string{"signing.example", "10.1.2.3"}, StateDir: dir, Config: fastConfig()})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	address, err := url.Parse(s.APIURL())
	if err != nil || address.Hostname() != "signing.example" {
		t.Fatalf("URL %s: %v", s.APIURL(), err)
	}
	for host, want := range map[string]bool{"signing.example": true, "10.1.2.3": true, "localhost": true, "127.0.0.1": true, "::1": true, "other.example": false} {
		conn, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", address.Port()), &tls.Config{RootCAs: rootPool(t, s.CAFile()), ServerName: host})
		if (err == nil) != want {
			t.Errorf("certificate fits %s: %v, want %v (%v)", host, err == nil, want, err)
		}
		if conn != nil {
			conn.Close()
		}
	}
	if err := mockapi.CheckHealth(t.Context(), dir); err != nil {
		t.Error(err)
	}
}

func TestHealthFailsWhereNothingAnswers(t *testing.T) {
	dir := t.TempDir()
	if err := mockapi.CheckHealth(t.Context(), dir); err == nil {
		t.Error("an empty folder is healthy")
	}
	s, err := mockapi.Start(mockapi.Options{StateDir: dir, Config: fastConfig()})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	if err := mockapi.CheckHealth(t.Context(), dir); err == nil {
		t.Error("a stopped service is healthy")
	}
}

func TestSecretFilesAreForTheOwner(t *testing.T) {
	s := start(t, fastConfig())
	dir := filepath.Dir(s.RootFile())
	first(t, s).policies(t, "")
	for name, want := range map[string]os.FileMode{"env": 0o600, "audit.jsonl": 0o600, "keys": 0o700, "keys/demo.p-256.pem": 0o600, "keys/identity.json": 0o600, "ca.pem": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, want %o", name, err, want)
		}
	}
}

func TestConfigurationErrorsNameWhatIsWrong(t *testing.T) {
	for _, test := range []struct{ name, json, want string }{
		{"not JSON", `{`, "unexpected EOF"},
		{"unknown name", `{"organisations":[]}`, "organisations"},
		{"trailing text", `{} {}`, "more after"},
		{"error style", `{"errorStyle":"xml"}`, "errorStyle"},
		{"generation status", `{"generations":{"signHash":{"off":true,"status":500}}}`, "signHash"},
		{"chain length", `{"chainLength":7}`, "chainLength"},
		{"id", `{"organizations":[{"name":"a","id":"x","users":[{"name":"u","token":"t"}]}]}`, "UUID"},
		{"no user", `{"organizations":[{"name":"a","id":"generate"}]}`, "users"},
		{"same token", `{"organizations":[{"name":"a","id":"generate","users":[{"name":"u","token":"t"},{"name":"v","token":"t"}]}]}`, "same token"},
		{"permission", `{"organizations":[{"name":"a","id":"generate","users":[{"name":"u","token":"t","permissions":["all"]}]}]}`, "permission"},
		{"key size", `{"organizations":[{"name":"a","id":"generate","users":[{"name":"u","token":"t"}],"certificates":[{"slug":"c","type":"X509","keyType":"Rsa","keySizeInBits":1024}]}]}`, "keySizeInBits"},
		{"file name", `{"organizations":[{"name":"../a","id":"generate","users":[{"name":"u","token":"t"}]}]}`, "name"},
		{"certificate", `{"organizations":[{"name":"a","id":"generate","users":[{"name":"u","token":"t"}],"projects":[{"slug":"p","policies":[{"slug":"q"}]}]}]}`, `no certificate "q"`},
		{"submitter", `{"organizations":[{"name":"a","id":"generate","users":[{"name":"u","token":"t"}],"certificates":[{"slug":"q","type":"X509","keyType":"Rsa","keySizeInBits":2048}],"projects":[{"slug":"p","policies":[{"slug":"q","submitters":["w"]}]}]}]}`, `"w" is not a user`},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.json")
			if err := os.WriteFile(file, []byte(test.json), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := mockapi.LoadConfig(file); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("want an error about %q, got %v", test.want, err)
			}
		})
	}
}

func TestConfigurationWithoutOrganizationsHasTheBuiltInOnes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(`{"errorStyle":"plain","latencyMs":5}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := mockapi.LoadConfig(file)
	if err != nil || len(cfg.Organizations) != 1 || len(cfg.Organizations[0].Projects[0].Policies) != 8 || cfg.ErrorStyle != "plain" {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestServerCertificateMayBeExpired(t *testing.T) {
	for _, end := range []time.Time{{}, time.Now().Add(time.Hour), time.Now().Add(-time.Hour)} {
		s, err := mockapi.Start(mockapi.Options{StateDir: t.TempDir(), Config: fastConfig(), CertificateEnd: end})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.BaseURL(), "https://"), &tls.Config{RootCAs: rootPool(t, s.CAFile())})
		if err == nil {
			conn.Close()
		}
		expired := !end.IsZero() && end.Before(time.Now())
		if expired != (err != nil) || expired && !strings.Contains(err.Error(), "expired") {
			t.Errorf("with a certificate until %v: %v", end, err)
		}
		stop(t, s)
	}
}
