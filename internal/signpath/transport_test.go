package signpath

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"signkit/internal/config"
)

// connectProxy is a proxy that knows CONNECT and sends every connection to target.
type connectProxy struct {
	*httptest.Server
	mu      sync.Mutex
	targets []string
}

func newConnectProxy(t *testing.T, target, user string, status int) *connectProxy {
	p := new(connectProxy)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.targets = append(p.targets, r.Method+" "+r.Host)
		p.mu.Unlock()
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(user))
		if user != "" && r.Header.Get("Proxy-Authorization") != want {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if status != 0 {
			w.WriteHeader(status)
			return
		}
		tunnel(w, target)
	}))
	t.Cleanup(p.Close)
	return p
}

func tunnel(w http.ResponseWriter, target string) {
	server, err := net.Dial("tcp", target)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	client, _, _ := http.NewResponseController(w).Hijack()
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(server, client)
		server.Close()
	}()
	_, _ = io.Copy(client, server)
	client.Close()
}

// behindProxy configures an API host name that only the proxy can reach; "example.com" is
// in httptest's certificate.
func behindProxy(s *service) *config.Config {
	cfg := s.config()
	cfg.APIURL = "https://example.com/Api"
	return cfg
}

func TestProxySettings(t *testing.T) {
	for _, test := range []struct {
		name   string
		set    func(c *config.Config, host string)
		direct bool
	}{
		{"http_proxy alone", func(c *config.Config, host string) { c.HTTPProxy = "http://" + host }, false},
		{"host and port", func(c *config.Config, host string) { c.HTTPProxy = host }, false},
		{"https_proxy wins", func(c *config.Config, host string) { c.HTTPProxy, c.HTTPSProxy = "127.0.0.1:1", "http://"+host }, false},
		{"no_proxy of another", func(c *config.Config, host string) { c.HTTPProxy, c.NoProxy = host, "other.com" }, false},
		{"no_proxy", func(c *config.Config, host string) { c.HTTPProxy, c.NoProxy = host, ".com" }, true},
		{"no_proxy star", func(c *config.Config, host string) { c.HTTPProxy, c.NoProxy = host, "*" }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(t, true)
			s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
			proxy := newConnectProxy(t, s.Listener.Addr().String(), "", 0)
			cfg := behindProxy(s)
			test.set(cfg, proxy.Listener.Addr().String())
			c := newTestClient(t, cfg)
			if test.direct != (c.proxy == nil) {
				t.Fatalf("proxy %v", c.proxy)
			}
			if test.direct {
				return
			}
			c.mustList(t)
			c.mustList(t)
			if len(proxy.targets) != 1 || proxy.targets[0] != "CONNECT example.com:443" {
				t.Errorf("proxy saw %v", proxy.targets)
			}
		})
	}
}

func TestProxyLogIn(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
	proxy := newConnectProxy(t, s.Listener.Addr().String(), "me:pass word", 0)
	cfg := behindProxy(s)
	cfg.HTTPProxy = "http://me:pass%20word@" + proxy.Listener.Addr().String()
	newTestClient(t, cfg).mustList(t)

	cfg.HTTPProxy = "http://me:wrong-one@" + proxy.Listener.Addr().String()
	c := newTestClient(t, cfg)
	_, err := c.Policies(t.Context(), Filter{})
	if err == nil || !strings.Contains(err.Error(), "407 Proxy Authentication Required; check http_proxy") || len(c.clock.waits()) != 0 {
		t.Errorf("waits %v, %v", c.clock.waits(), err)
	}
	if strings.Contains(fmt.Sprint(err)+c.log.String(), "wrong-one") {
		t.Error("the proxy's password is shown")
	}
}

func TestProxyTroubleIsRetried(t *testing.T) {
	s := newService(t, true)
	proxy := newConnectProxy(t, "", "", http.StatusServiceUnavailable)
	cfg := behindProxy(s)
	cfg.HTTPProxy, cfg.Timeouts.RetryCount = proxy.Listener.Addr().String(), 2
	c := newTestClient(t, cfg)
	if _, err := c.Policies(t.Context(), Filter{}); err == nil || len(c.clock.waits()) != 2 {
		t.Errorf("waits %v, %v", c.clock.waits(), err)
	}
}

// TestSOCKSProxy: the name of the API goes to the proxy as it is, and TLS is with the API.
func TestSOCKSProxy(t *testing.T) {
	for _, scheme := range []string{"socks5", "socks5h"} {
		for password, ok := range map[string]bool{"pass-word": true, "wrong-one": false} {
			s := newService(t, true)
			s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
			proxy := newSOCKSProxy(t, s.Listener.Addr().String(), "me", "pass-word")
			cfg := behindProxy(s)
			cfg.HTTPProxy = scheme + "://me:" + password + "@" + proxy.address
			cfg.Timeouts.RetryCount = 0
			c := newTestClient(t, cfg)
			_, err := c.Policies(t.Context(), Filter{})
			switch {
			case ok && (err != nil || proxy.asked() != "example.com:443"):
				t.Errorf("%s: %v, the proxy was asked for %q", scheme, err, proxy.asked())
			case !ok && (err == nil || !strings.HasSuffix(err.Error(), "; check http_proxy") || proxy.asked() != ""):
				t.Errorf("%s with a wrong password: %v, the proxy was asked for %q", scheme, err, proxy.asked())
			}
			if strings.Contains(fmt.Sprint(err)+c.log.String(), password) {
				t.Error("the proxy's password is shown")
			}
		}
	}
}

// socksProxy leads every connection to one target (RFC 1928, with a log-in of RFC 1929).
type socksProxy struct {
	address string
	mu      sync.Mutex
	target  string // host and port, as asked for
}

func (p *socksProxy) asked() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target
}

func newSOCKSProxy(t *testing.T, target, user, password string) *socksProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &socksProxy{address: listener.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer client.Close()
				p.serve(client, target, user+":"+password)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return p
}

func (p *socksProxy) serve(client net.Conn, target, logIn string) {
	_ = client.SetDeadline(time.Now().Add(time.Minute))
	read := func(n byte) string {
		data := make([]byte, n)
		_, _ = io.ReadFull(client, data)
		return string(data)
	}
	length := func() byte { return read(1)[0] }
	read(1) // version
	read(length())
	_, _ = client.Write([]byte{5, 2}) // user and password
	read(1)                           // version
	user := read(length())
	password := read(length())
	if user+":"+password != logIn {
		_, _ = client.Write([]byte{1, 1})
		return
	}
	_, _ = client.Write([]byte{1, 0})
	if read(4) != "\x05\x01\x00\x03" { // connect to a name
		return
	}
	host, port := read(length()), read(2)
	p.mu.Lock()
	p.target = net.JoinHostPort(host, fmt.Sprint(int(port[0])<<8|int(port[1])))
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	_, _ = client.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	go func() {
		_, _ = io.Copy(server, client)
		server.Close()
	}()
	_, _ = io.Copy(client, server)
}

func TestUnknownAuthorityIsFinalAndNamesTheSetting(t *testing.T) {
	s := newService(t, true)
	cfg := s.config()
	writePEM(t, cfg.CAFile, testCertificate(t, "other", testKeys()["p-256"], nil, nil))
	c := newTestClient(t, cfg)
	_, err := c.Policies(t.Context(), Filter{})
	var authority x509.UnknownAuthorityError
	if !errors.As(err, &authority) || !strings.Contains(err.Error(), "SIGNKIT_CA_FILE") || len(c.clock.waits()) != 0 {
		t.Errorf("waits %v, %v", c.clock.waits(), err)
	}
}

func TestPlainServerBehindHTTPS(t *testing.T) {
	s := newService(t, true)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	cfg := s.config()
	cfg.APIURL = strings.Replace(plain.URL, "http:", "https:", 1)
	c := newTestClient(t, cfg)
	if _, err := c.Policies(t.Context(), Filter{}); err == nil || len(c.clock.waits()) != 0 || !strings.Contains(err.Error(), "SIGNPATH_API_URL") {
		t.Errorf("waits %v, %v", c.clock.waits(), err)
	}
}

func TestRootFiles(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, ca, file, dir string
		want                string // in New's error
	}{
		{"CA file", s.caFile, "", "", ""},
		{"SSL_CERT_FILE", "", s.caFile, "", ""},
		{"SSL_CERT_DIR", "", "", t.TempDir() + ":" + filepath.Dir(s.caFile), ""},
		{"bad SSL_CERT_FILE and CA file", s.caFile, "/nowhere", "", ""},
		{"empty CA file", empty, "", "", "SIGNKIT_CA_FILE"},
		{"no CA file", "/nowhere", "", "", "SIGNKIT_CA_FILE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := s.config()
			cfg.CAFile, cfg.SSLCertFile, cfg.SSLCertDir = test.ca, test.file, test.dir
			if test.want == "" {
				newTestClient(t, cfg).mustList(t)
				return
			}
			if _, err := New(cfg, Options{}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Error(err)
			}
		})
	}
}

// writeClientCertificate makes a file with a certificate and its key.
func writeClientCertificate(t *testing.T, keyType string, edit func([]byte) []byte) string {
	key := testKeys()["p-256"].(*ecdsa.PrivateKey)
	der, _ := x509.MarshalPKCS8PrivateKey(key)
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: testCertificate(t, "client", key, nil, nil).Raw})
	data = append(data, pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: der})...)
	if edit != nil {
		data = edit(data)
	}
	file := filepath.Join(t.TempDir(), "client.pem")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTLSClientCertificate(t *testing.T) {
	s := &service{mux: http.NewServeMux()}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Server.EnableHTTP2 = true
	s.Server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	s.caFile = filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, s.caFile, s.Certificate())
	s.handle("GET", "Cryptoki/MySigningPolicies", func(w http.ResponseWriter, r *http.Request) {
		if name := r.TLS.PeerCertificates[0].Subject.CommonName; name != "client" {
			t.Errorf("client certificate %s", name)
		}
		emptyPolicies(w, r)
	})
	cfg := s.config()
	cfg.TLSClientCertificateFile = writeClientCertificate(t, "PRIVATE KEY", nil)
	newTestClient(t, cfg).mustList(t)

	cfg.TLSClientCertificateFile = ""
	c := newTestClient(t, cfg)
	_, err := c.Policies(t.Context(), Filter{})
	if err == nil || !strings.Contains(err.Error(), "SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE") {
		t.Errorf("%v\n%s", err, c.log)
	}
	// With TLS 1.3 the refusal comes after the handshake, and may be overtaken by the end of
	// the connection: the first attempt's error must name the setting all the same.
	cfg.Timeouts.RetryCount = 0
	for range 40 {
		_, err := newTestClient(t, cfg).Policies(t.Context(), Filter{})
		if err == nil || !strings.Contains(err.Error(), "SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE") {
			t.Fatal(err)
		}
	}
}

// TestServerThatAsksForACertificateAndHangsUp says no more than that.
func TestServerThatAsksForACertificateAndHangsUp(t *testing.T) {
	for _, asks := range []tls.ClientAuthType{tls.NoClientCert, tls.RequestClientCert} {
		t.Run(asks.String(), func(t *testing.T) {
			s := newService(t, true)
			listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates, ClientAuth: asks})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { listener.Close() })
			go hangUp(listener)
			cfg := s.config()
			cfg.APIURL, cfg.Timeouts.RetryCount = "https://"+listener.Addr().String()+"/Api", 0
			_, err = newTestClient(t, cfg).Policies(t.Context(), Filter{})
			hint := "the server asked for a TLS client certificate and got none: check SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE"
			if err == nil || strings.Contains(err.Error(), hint) != (asks == tls.RequestClientCert) {
				t.Error(err)
			}
		})
	}
}

// hangUp ends connections when they have sent something after the handshake.
func hangUp(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 1))
		conn.Close()
	}
}

func TestUnusableClientCertificates(t *testing.T) {
	s := newService(t, true)
	for want, file := range map[string]string{
		"no such file":            "/nowhere",
		"is encrypted":            writeClientCertificate(t, "ENCRYPTED PRIVATE KEY", nil),
		"(found 0 and 1)":         writeClientCertificate(t, "PRIVATE KEY", func(b []byte) []byte { return b[bytes.Index(b, []byte("-----BEGIN PRIVATE")):] }),
		"(found 1 and 0)":         writeClientCertificate(t, "PRIVATE KEY", func(b []byte) []byte { return b[:bytes.Index(b, []byte("-----BEGIN PRIVATE"))] }),
		"failed to parse private": writeClientCertificate(t, "EC PRIVATE KEY", func(b []byte) []byte { return bytes.Replace(b, []byte("MIGH"), []byte("MIGA"), 1) }),
		"(found 0 and 0)":         s.caFile + "x",
	} {
		if strings.HasSuffix(file, "x") {
			_ = os.WriteFile(file, []byte("text"), 0o600)
		}
		cfg := s.config()
		cfg.TLSClientCertificateFile = file
		_, err := New(cfg, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE") {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	s := newService(t, true)
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.Config.ErrorLog = s.Server.Config.ErrorLog
	old.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	old.StartTLS()
	t.Cleanup(old.Close)
	cfg := s.config()
	cfg.APIURL = old.URL + "/Api"
	c := newTestClient(t, cfg)
	if _, err := c.Policies(t.Context(), Filter{}); err == nil || len(c.clock.waits()) != 0 {
		t.Errorf("waits %v, %v", c.clock.waits(), err)
	}
}

func TestMissingCredentials(t *testing.T) {
	_, err := New(&config.Config{APIURL: "https://example.com/Api"}, Options{})
	if err == nil || !strings.Contains(err.Error(), "SIGNPATH_API_TOKEN") {
		t.Error(err)
	}
}
