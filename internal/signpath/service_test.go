package signpath

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"signkit/internal/caller"
	"signkit/internal/config"
	"signkit/internal/logging"
)

const (
	testOrg   = "11111111-2222-3333-4444-555555555555"
	testToken = "dG9rZW4vdGhhdCtub2JvZHk/bWF5PXNlZQ=="
)

var digest32 = bytes.Repeat([]byte{0xd7}, 32)

// testKeys are made once for all tests.
var testKeys = sync.OnceValue(func() map[string]crypto.Signer {
	keys := map[string]crypto.Signer{}
	keys["rsa"], _ = rsa.GenerateKey(rand.Reader, 2048)
	keys["p-256"], _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	keys["p-384"], _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	keys["p-521"], _ = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	return keys
})

// service is a scripted stand-in for the signing service: TLS, HTTP/2, counters.
type service struct {
	*httptest.Server
	mux         *http.ServeMux
	connections atomic.Int32
	mu          sync.Mutex
	requests    []string // "METHOD path-below-the-organization"
	caFile      string
}

// newService starts a service whose routes are added by handle.
func newService(t testing.TB, http2 bool) *service {
	t.Helper()
	s := &service{mux: http.NewServeMux()}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Server.EnableHTTP2 = http2
	s.Server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	s.caFile = filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, s.caFile, s.Certificate())
	return s
}

func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/Api/v1/"+testOrg+"/"))
	s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+testToken {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// handle adds a route below the organization's root.
func (s *service) handle(method, path string, h http.HandlerFunc) {
	s.mux.HandleFunc(method+" /Api/v1/"+testOrg+"/"+path, h)
}

func (s *service) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

func (s *service) config() *config.Config {
	return &config.Config{OrganizationID: testOrg, APIToken: config.NewSecret(testToken),
		APIURL: s.URL + "/Api", CAFile: s.caFile, MaxParallel: 8, SignRoute: "auto",
		Timeouts: config.Timeouts{HTTPRequest: 30 * time.Second, FirstRetryDelay: 1160 * time.Millisecond, RetryCount: 10}}
}

// testClient is a client with a clock that never waits and a log that is kept.
type testClient struct {
	*Client
	clock *fakeClock
	log   *logBuffer
}

func newTestClient(t testing.TB, cfg *config.Config, adjust ...func(*Options)) *testClient {
	t.Helper()
	clock, log := &fakeClock{time: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}, new(logBuffer)
	o := Options{Redactor: new(logging.Redactor), now: clock.now, sleep: clock.sleep, rand: func() float64 { return 0.5 },
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, f := range adjust {
		f(&o)
	}
	c, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &testClient{c, clock, log}
}

// fakeClock advances when somebody sleeps.
type fakeClock struct {
	mu    sync.Mutex
	time  time.Time
	slept []time.Duration
	hook  func() // called on each sleep
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time
}

func (c *fakeClock) sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.time = c.time.Add(d)
	c.slept = append(c.slept, d)
	hook := c.hook
	c.mu.Unlock()
	if hook != nil {
		hook()
	}
	return ctx.Err()
}

func (c *fakeClock) waits() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Duration(nil), c.slept...)
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func wantInLog(t *testing.T, c *testClient, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(c.log.String(), part) {
			t.Errorf("log lacks %q:\n%s", part, c.log)
		}
	}
}

// key makes a Key as Policies would, for one of testKeys.
func (c *testClient) key(name string) *Key {
	return &Key{client: c.Client, project: "demo", policy: name, public: testKeys()[name].Public()}
}

// testProcess is what Options.Process returns in tests.
func testProcess() caller.Process {
	return caller.Process{PID: 1, CommandLine: "openssl dgst " + testToken, User: "build",
		OSType: "Linux", OSVersion: "Debian 12", Architecture: "x64"}
}

// signHashHandler answers the current sign route as the service does.
func signHashHandler(t testing.TB) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			ProjectSlug, SigningPolicySlug string
			HashSigningData                struct {
				Hash               []byte
				SignatureAlgorithm string
				RsaOptions         struct{ HashAlgorithmName, PaddingMode string }
				EcdsaOptions       struct{ SignatureFormat string }
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Errorf("sign request: %v", err)
		}
		d := q.HashSigningData
		hash := map[string]crypto.Hash{"Sha1": crypto.SHA1, "Sha256": crypto.SHA256, "Sha384": crypto.SHA384,
			"Sha512": crypto.SHA512}[d.RsaOptions.HashAlgorithmName]
		signature := rawSign(t, q.SigningPolicySlug, d.Hash, hash, d.RsaOptions.PaddingMode == "Pss")
		writeJSON(w, map[string]any{"signingRequestId": "0148-77", "webLink": "https://web/0148-77",
			"hashSigningData": map[string]any{"hash": d.Hash}, "hashSigningResult": map[string]any{"signature": signature}})
	}
}

// artifactHandler answers the two older sign routes.
func artifactHandler(t testing.TB) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		file, header, err := r.FormFile("Artifact")
		if err != nil {
			t.Errorf("artifact: %v", err)
			return
		}
		if header.Filename != "payload.json" || header.Header.Get("Content-Type") != "application/json" {
			t.Errorf("artifact part: %v", header.Header)
		}
		if r.FormValue("IsFastSigningRequest") != "true" || r.FormValue("ProjectSlug") != "demo" {
			t.Errorf("fields: %v", r.Form)
		}
		raw, _ := io.ReadAll(file)
		var a map[string]any
		_ = json.Unmarshal(raw, &a)
		var p artifact
		_ = json.Unmarshal(raw, &p)
		hash := crypto.Hash(0)
		for _, h := range []crypto.Hash{crypto.MD5, crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			if rsaHashOID(h) == p.RsaHashAlgorithm {
				hash = h
			}
		}
		a["Signature"] = rawSign(t, r.FormValue("SigningPolicySlug"), p.Base64EncodedHash, hash, p.SignatureAlgorithm == "RsaPss")
		writeJSON(w, a)
	}
}

// rawSign signs as the HSM does: RSA, or ECDSA in P1363 form.
func rawSign(t testing.TB, name string, digest []byte, hash crypto.Hash, pss bool) []byte {
	key := testKeys()[name]
	var opts crypto.SignerOpts = hash
	if pss {
		opts = &rsa.PSSOptions{Hash: hash, SaltLength: rsa.PSSSaltLengthEqualsHash}
	}
	signature, err := key.Sign(rand.Reader, digest, opts)
	if err != nil {
		t.Errorf("test key: %v", err)
	}
	if ec, ok := key.(*ecdsa.PrivateKey); ok {
		return toP1363(signature, (ec.Params().BitSize+7)/8)
	}
	return signature
}

func toP1363(der []byte, size int) []byte {
	var s struct{ R, S *big.Int }
	_, _ = asn1.Unmarshal(der, &s)
	return append(s.R.FillBytes(make([]byte, size)), s.S.FillBytes(make([]byte, size))...)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}

func writeProblem(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

func answerStatus(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// testCertificate issues a certificate for key; parent nil makes it self-signed.
func testCertificate(t testing.TB, name string, key crypto.Signer, parent *x509.Certificate, parentKey crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, DNSNames: []string{name}}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func writePEM(t testing.TB, file string, certificates ...*x509.Certificate) {
	t.Helper()
	var b bytes.Buffer
	for _, c := range certificates {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
