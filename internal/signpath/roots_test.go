package signpath

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"signkit/internal/config"
)

// issued is a certificate with its key and those above it.
type issued struct {
	*x509.Certificate
	key   crypto.Signer
	chain []*x509.Certificate // without the root
}

// issue makes a certificate below parent (nil: self-signed); edit changes what is ordinary.
func issue(t testing.TB, key string, parent *issued, edit func(*x509.Certificate)) *issued {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	template.Subject.CommonName = t.Name() + key
	if edit != nil {
		edit(template)
	}
	signer, above := testKeys()[key], template
	if parent != nil {
		signer, above = parent.key, parent.Certificate
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above, testKeys()[key].Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	i := &issued{Certificate: certificate, key: testKeys()[key], chain: []*x509.Certificate{certificate}}
	if parent != nil && !isSelfSigned(parent.Certificate) {
		i.chain = append(i.chain, parent.chain...)
	}
	return i
}

func authority(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.Subject.CommonName = true, x509.KeyUsageCertSign, name
		c.ExtKeyUsage, c.DNSNames, c.IPAddresses = nil, nil, nil
	}
}

// tls is what a server shows.
func (i *issued) tls() tls.Certificate {
	c := tls.Certificate{PrivateKey: i.key}
	for _, certificate := range i.chain {
		c.Certificate = append(c.Certificate, certificate.Raw)
	}
	return c
}

// listener is a TLS server that keeps what it is sent after the handshake and answers as
// the service with no policies. What came over a connection is there when it has ended.
type listener struct {
	net.Listener
	group      sync.WaitGroup
	mu         sync.Mutex
	received   bytes.Buffer
	handshakes []error
}

func listen(t testing.TB, server *tls.Config) *listener {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{Listener: inner}
	t.Cleanup(func() { inner.Close(); l.group.Wait() })
	l.group.Go(func() {
		for {
			conn, err := inner.Accept()
			if err != nil {
				return
			}
			l.group.Go(func() { l.serve(tls.Server(conn, server)) })
		}
	})
	return l
}

func (l *listener) serve(conn *tls.Conn) {
	defer conn.Close()
	err := conn.Handshake()
	l.mu.Lock()
	l.handshakes = append(l.handshakes, err)
	l.mu.Unlock()
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		l.mu.Lock()
		l.received.Write(buffer[:n])
		complete := bytes.Contains(l.received.Bytes(), []byte("\r\n\r\n"))
		l.mu.Unlock()
		if complete {
			const body = `{"signingPolicies":[]}`
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"+
				"Content-Length: %d\r\n\r\n%s", len(body), body)
			return
		}
		if err != nil {
			return
		}
	}
}

// end waits until every connection has ended, and returns what arrived on all of them.
func (l *listener) end() (received string, handshakes []error) {
	l.Close()
	l.group.Wait()
	return l.received.String(), l.handshakes
}

func (l *listener) config(t testing.TB, host string, roots ...*x509.Certificate) *config.Config {
	t.Helper()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	file := filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, file, roots...)
	return &config.Config{OrganizationID: testOrg, APIToken: config.NewSecret(testToken), CAFile: file,
		APIURL: "https://" + net.JoinHostPort(host, port) + "/Api", SignRoute: "auto", MaxParallel: 1,
		SSLCertDir: t.TempDir(), // instead of this machine's roots
		Timeouts:   config.Timeouts{HTTPRequest: 30 * time.Second}}
}

// serverCase is one certificate that a server shows, and what the client must say to it.
type serverCase struct {
	name string
	host string
	leaf *issued
	want any    // pointer to the error's type; nil: it is good
	text string // in the message that a person sees
}

func serverCases(t *testing.T) (root *issued, cases []serverCase) {
	root = issue(t, "p-384", nil, authority("root"))
	foreign := issue(t, "p-521", nil, authority("foreign root"))
	middle := issue(t, "p-521", root, authority("intermediate"))
	below := issue(t, "p-256", middle, nil)
	alone := *below
	alone.chain = alone.chain[:1]
	past := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	expiredMiddle := issue(t, "p-521", root, func(c *x509.Certificate) { authority("expired intermediate")(c); past(c) })
	clientOnly := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	clientAuthority := issue(t, "p-521", root, func(c *x509.Certificate) { authority("for clients")(c); clientOnly(c) })
	limited := issue(t, "p-521", root, func(c *x509.Certificate) {
		authority("limited")(c)
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"example.com"}
	})
	server := issue(t, "p-521", root, nil)
	pretender := issue(t, "p-521", root, func(c *x509.Certificate) { authority("pretender")(c); c.IsCA = false })

	var (
		name      x509.HostnameError
		unknown   x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		someNames = func(names ...string) func(*x509.Certificate) {
			return func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = names, nil }
		}
	)
	return root, []serverCase{
		{"good", "localhost", issue(t, "p-256", root, nil), nil, ""},
		{"good for an IP address", "127.0.0.1", issue(t, "p-256", root, nil), nil, ""},
		{"good below an intermediate", "localhost", below, nil, ""},
		{"RSA", "localhost", issue(t, "rsa", root, nil), nil, ""},
		{"wrong name", "localhost", issue(t, "p-256", root, someNames("example.com")),
			&name, "check the host name in SIGNPATH_API_URL"},
		{"name of a part", "localhost", issue(t, "p-256", root, someNames("local", "*.localhost")), &name, "not localhost"},
		{"name in the subject alone", "localhost",
			issue(t, "p-256", root, func(c *x509.Certificate) { someNames()(c); c.Subject.CommonName = "localhost" }),
			&name, "legacy Common Name"},
		{"IP address as a name", "127.0.0.1", issue(t, "p-256", root, someNames("127.0.0.1", "localhost")), &name, "IP SANs"},
		{"wrong IP address", "127.0.0.1",
			issue(t, "p-256", root, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 2)} }),
			&name, "not 127.0.0.1"},
		{"expired", "localhost", issue(t, "p-256", root, past), &invalid, "has expired or is not yet valid"},
		{"not yet valid", "localhost",
			issue(t, "p-256", root, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }),
			&invalid, "not yet valid"},
		{"expired intermediate", "localhost", issue(t, "p-256", expiredMiddle, nil), &invalid, "has expired"},
		{"foreign root", "localhost", issue(t, "p-256", foreign, nil), &unknown, "SIGNKIT_CA_FILE"},
		{"root of the same name", "localhost",
			issue(t, "p-256", issue(t, "p-256", nil, authority("root")), nil), &unknown, "SIGNKIT_CA_FILE"},
		{"self-signed", "localhost", issue(t, "p-256", nil, nil), &unknown, "SIGNKIT_CA_FILE"},
		{"missing intermediate", "localhost", &alone, &unknown, "SIGNKIT_CA_FILE"},
		{"for clients", "localhost", issue(t, "p-256", root, clientOnly), &invalid, "incompatible key usage"},
		{"below an authority for clients", "localhost", issue(t, "p-256", clientAuthority, nil),
			&invalid, "incompatible key usage"},
		{"below another server", "localhost", issue(t, "p-256", server, nil), &unknown, "cannot sign this kind of certificate"},
		{"below one that is no authority", "localhost", issue(t, "p-256", pretender, nil),
			&unknown, "cannot sign this kind of certificate"},
		{"below a limited authority", "localhost", issue(t, "p-256", limited, nil), &invalid, "not permitted"},
	}
}

// standardError is what package tls itself says to the same server.
func standardError(t *testing.T, server *tls.Config, host string, root *issued) error {
	t.Helper()
	l := listen(t, server)
	roots := x509.NewCertPool()
	roots.AddCert(root.Certificate)
	conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: host})
	if err == nil {
		conn.Close()
	}
	return err
}

// TestServerCertificates: a server that is not the right one fails the handshake with the
// error of package tls, and is sent nothing: neither the token nor anything else.
func TestServerCertificates(t *testing.T) {
	root, cases := serverCases(t)
	for _, test := range cases {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(test.name+" "+tls.VersionName(version), func(t *testing.T) {
				server := &tls.Config{Certificates: []tls.Certificate{test.leaf.tls()}, MaxVersion: version}
				standard := standardError(t, server, test.host, root)
				l := listen(t, server)
				c := newTestClient(t, l.config(t, test.host, root.Certificate))
				_, err := c.Policies(t.Context(), Filter{})
				received, handshakes := l.end()
				if test.want == nil {
					if err != nil || standard != nil || !strings.Contains(received, "Authorization: Bearer "+testToken) {
						t.Errorf("%v, %v, received %q", err, standard, received)
					}
					return
				}
				if received != "" || len(handshakes) != 1 || handshakes[0] == nil {
					t.Errorf("the server got %q, handshakes %v", received, handshakes)
				}
				sameRefusal(t, err, standard, test)
			})
		}
	}
}

// sameRefusal checks that err wraps what package tls says, and has what a person needs.
func sameRefusal(t *testing.T, err, standard error, test serverCase) {
	t.Helper()
	var ours, theirs *tls.CertificateVerificationError
	if !errors.As(err, &ours) || !errors.As(standard, &theirs) {
		t.Fatalf("%v, package tls says %v", err, standard)
	}
	currentTime := regexp.MustCompile(`current time \S+`) // some texts tell it
	same := func(err error) string { return currentTime.ReplaceAllString(err.Error(), "current time") }
	if same(ours) != same(theirs) || reflect.TypeOf(ours.Err) != reflect.TypeOf(theirs.Err) ||
		len(ours.UnverifiedCertificates) != len(theirs.UnverifiedCertificates) {
		t.Errorf("%v (%T), package tls says %v (%T)", ours, ours.Err, theirs, theirs.Err)
	}
	target := reflect.New(reflect.TypeOf(test.want).Elem()).Interface()
	if !errors.As(err, target) || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), testToken) {
		t.Errorf("want a %T and %q: %v", target, test.text, err)
	}
	if failure, ok := asError(err); !ok || failure.Kind.Transient() || failure.unknown {
		t.Errorf("a refusal is final, and no request was sent: %+v", failure)
	}
}

// TestOtherRootsAreTrustedToo: those of the system, although there is a CA file.
func TestOtherRootsAreTrustedToo(t *testing.T) {
	root, foreign := issue(t, "p-384", nil, authority("root")), issue(t, "p-521", nil, authority("foreign root"))
	l := listen(t, &tls.Config{Certificates: []tls.Certificate{issue(t, "p-256", root, nil).tls()}})
	for name, set := range map[string]func(c *config.Config, good string){
		"SSL_CERT_FILE": func(c *config.Config, good string) { c.SSLCertFile, c.SSLCertDir = good, "" },
		"SSL_CERT_DIR":  func(c *config.Config, good string) { c.SSLCertDir = "/nowhere:" + filepath.Dir(good) },
	} {
		cfg := l.config(t, "localhost", foreign.Certificate)
		good := filepath.Join(t.TempDir(), "good.pem")
		writePEM(t, good, root.Certificate)
		set(cfg, good)
		c := newTestClient(t, cfg)
		if _, err := c.Policies(t.Context(), Filter{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSystemRoots are read where the settings name no others.
func TestSystemRoots(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
	c := newTestClient(t, s.config())
	want, standardErr := x509.SystemCertPool()
	got, err := c.systemRoots()
	if err != nil || standardErr != nil || !got.Equal(want) {
		t.Errorf("%v, %v", err, standardErr)
	}
	want.AddCert(s.Certificate())
	c.mustList(t)
	if !c.transport.TLSClientConfig.RootCAs.Equal(want) {
		t.Error("package tls is given other roots than these and that of the CA file")
	}
}

// TestUnusableRootsAreNamed in the log, and without any other the error says what to do.
func TestUnusableRootsAreNamed(t *testing.T) {
	root := issue(t, "p-384", nil, authority("root"))
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"/nowhere", empty, ""} {
		l := listen(t, &tls.Config{Certificates: []tls.Certificate{issue(t, "p-256", root, nil).tls()}})
		cfg := l.config(t, "localhost", root.Certificate)
		cfg.CAFile, cfg.SSLCertFile = "", file
		c := newTestClient(t, cfg)
		_, err := c.Policies(t.Context(), Filter{})
		if !errors.Is(err, errNoRoots) || !strings.HasSuffix(err.Error(), errNoRoots.Error()) || len(c.clock.waits()) != 0 {
			t.Errorf("waits %v, %v", c.clock.waits(), err)
		}
		if received, _ := l.end(); received != "" {
			t.Errorf("the server got %q", received)
		}
		if file != "" {
			wantInLog(t, c, "SSL_CERT_FILE is set but not usable", file)
		}
	}
}

// TestRootsAreReadBesideTheDialling: a connection is there only when reading has begun, and
// reading ends only when there is a connection.
func TestRootsAreReadBesideTheDialling(t *testing.T) {
	root := issue(t, "p-384", nil, authority("root"))
	l := listen(t, &tls.Config{Certificates: []tls.Certificate{issue(t, "p-256", root, nil).tls()}})
	cfg := l.config(t, "localhost", root.Certificate)
	ca, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	cfg.CAFile, cfg.SSLCertFile = "", filepath.Join(t.TempDir(), "pipe.pem")
	if err := syscall.Mkfifo(cfg.SSLCertFile, 0o600); err != nil {
		t.Fatal(err)
	}
	c := newTestClient(t, cfg, func(o *Options) {
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			var pipe *os.File
			until(t, "somebody reads the roots", func() bool {
				pipe, err = os.OpenFile(cfg.SSLCertFile, os.O_WRONLY|syscall.O_NONBLOCK, 0)
				return err == nil
			})
			_, err = pipe.Write(ca)
			return conn, errors.Join(err, pipe.Close())
		}
	})
	c.mustList(t)
}

// TestHTTPSProxy has a certificate of its own, and so has the API in its tunnel: each must
// be right, and a wrong one is sent neither log-in nor token.
func TestHTTPSProxy(t *testing.T) {
	root, foreign := issue(t, "p-384", nil, authority("root")), issue(t, "p-521", nil, authority("foreign root"))
	good := func(host string) *issued {
		return issue(t, "p-256", root, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{host}, nil })
	}
	for _, test := range []struct {
		name       string
		proxyHost  string
		proxy, api *issued
		text       string // of the error; "" is none
		connected  bool   // the proxy is asked for the tunnel
	}{
		{"both good", "localhost", good("localhost"), good("example.com"), "", true},
		{"good for an IP address", "127.0.0.1", issue(t, "p-256", root, nil), good("example.com"), "", true},
		{"proxy below a foreign root", "localhost", issue(t, "p-256", foreign, nil), good("example.com"),
			"check https_proxy", false},
		{"proxy with another name", "localhost", good("proxy.example.com"), good("example.com"), "check https_proxy", false},
		{"proxy with the API's name", "localhost", good("example.com"), good("example.com"), "check https_proxy", false},
		{"proxy with another IP address", "127.0.0.1", good("localhost"), good("example.com"), "check https_proxy", false},
		{"API below a foreign root", "localhost", good("localhost"),
			issue(t, "p-256", foreign, func(c *x509.Certificate) { c.DNSNames = []string{"example.com"} }), "SIGNKIT_CA_FILE", true},
		{"API with the proxy's name", "localhost", good("localhost"), good("localhost"),
			"check the host name in SIGNPATH_API_URL", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			api := listen(t, &tls.Config{Certificates: []tls.Certificate{test.api.tls()}})
			proxy := newSecureProxy(t, test.proxy, api.Addr().String())
			cfg := api.config(t, "example.com", root.Certificate)
			cfg.APIURL = "https://example.com/Api"
			cfg.HTTPSProxy = "https://me:pass-word@" + net.JoinHostPort(test.proxyHost, proxy.port)
			c := newTestClient(t, cfg)
			_, err := c.Policies(t.Context(), Filter{})
			if (err != nil) != (test.text != "") || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v\n%s", err, c.log)
			}
			received, _ := api.end()
			if strings.Contains(received, testToken) != (test.text == "") || test.text != "" && received != "" {
				t.Errorf("the API got %q", received)
			}
			asked := proxy.seen()
			if test.connected && !strings.HasPrefix(asked, "CONNECT example.com:443 ") || !test.connected && asked != "" {
				t.Errorf("the proxy got %q", asked)
			}
			if len(c.clock.waits()) != 0 {
				t.Errorf("waits %v", c.clock.waits())
			}
		})
	}
}

// secureProxy is a proxy behind TLS that leads every tunnel to one target.
type secureProxy struct {
	port string
	mu   sync.Mutex
	log  string
}

func newSecureProxy(t *testing.T, certificate *issued, target string) *secureProxy {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{certificate.tls()}, NextProtos: []string{"h2", "http/1.1"}}
	inner, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	p := new(secureProxy)
	_, p.port, _ = net.SplitHostPort(inner.Addr().String())
	server := &http.Server{TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.mu.Lock()
			p.log += r.Method + " " + r.Host + " " + r.Header.Get("Proxy-Authorization") + "\n"
			p.mu.Unlock()
			tunnel(w, target)
		})}
	go func() { _ = server.Serve(inner) }()
	t.Cleanup(func() { server.Close() })
	return p
}

func (p *secureProxy) seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log
}
