package agent_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"signkit/internal/agent"
	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/key"
	"signkit/internal/mockapi"
	"signkit/internal/signpath"
	"signkit/internal/version"
	"signkit/pkcs11/wire"
)

// bound ends what hangs.
const bound = time.Minute

const serviceConfig = `{"organizations":[{"name":"test","id":"generate",
 "users":[{"name":"ci","token":"generate","permissions":["certificates"]},{"name":"observer","token":"generate"}],
 "certificates":[{"slug":"rsa-2048","type":"X509","keyType":"Rsa","keySizeInBits":2048},{"slug":"p-256","type":"X509","keyType":"Ecdsa","keySizeInBits":256},
  {"slug":"p-521","type":"X509","keyType":"Ecdsa","keySizeInBits":521},{"slug":"gpg-p-256","type":"Gpg","keyType":"Ecdsa","keySizeInBits":256}],
 "projects":[{"slug":"demo","policies":[{"slug":"rsa-2048","submitters":["ci"]},{"slug":"p-256","submitters":["ci"]},
  {"slug":"p-521","submitters":["ci"]},{"slug":"gpg-p-256","submitters":["ci"]}]}]}]}`

// bench is a service and an agent for it.
type bench struct {
	t       *testing.T
	service *mockapi.Server
	agent   *agent.Agent
	path    string
	end     func() error

	mu     sync.Mutex
	events []event.Event
}

func newBench(t *testing.T, change func(*agent.Options)) *bench {
	t.Helper()
	b := &bench{t: t}
	file := filepath.Join(t.TempDir(), "service.json")
	if err := os.WriteFile(file, []byte(serviceConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := mockapi.LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	b.service, err = mockapi.Start(mockapi.Options{Listen: "127.0.0.1:0", StateDir: t.TempDir(), Config: cfg, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		b.service.Close(ctx)
	})
	settings := b.settings(b.service.Environment()...)
	client, err := signpath.New(settings, signpath.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	options := agent.Options{Config: settings, Client: client, Logger: slog.New(slog.DiscardHandler), Record: func(e event.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, e)
	}}
	if change != nil {
		change(&options)
	}
	b.agent = agent.New(options)
	sockets, err := agent.ListenPrivate()
	if err != nil {
		t.Fatal(err)
	}
	b.path = sockets.Path()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.agent.Serve(ctx, sockets) }()
	b.end = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return errors.Join(err, sockets.Close())
		case <-time.After(bound):
			return errors.New("the agent does not end")
		}
	})
	t.Cleanup(func() {
		if err := b.end(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) settings(environ ...string) *config.Config {
	b.t.Helper()
	cfg, err := config.Load(environ, "/")
	if err != nil {
		b.t.Fatal(err)
	}
	return cfg
}

// client knows nothing but the agent.
func (b *bench) client() *signpath.Client {
	b.t.Helper()
	client, err := signpath.New(b.settings("SIGNKIT_AGENT="+b.path), signpath.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	return client
}

func (b *bench) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	b.t.Cleanup(cancel)
	return ctx
}

// requests are the service's, by the end of their path.
func (b *bench) requests(suffix string) int {
	n := 0
	for _, r := range b.service.Requests() {
		if strings.HasSuffix(r.Path, suffix) {
			n++
		}
	}
	return n
}

func (b *bench) key(name string) *signpath.Key {
	b.t.Helper()
	project, policy, _ := strings.Cut(name, "/")
	keys, err := b.client().Policies(b.context(), signpath.Filter{ProjectSlug: project, SigningPolicySlug: policy})
	if err != nil || len(keys) != 1 {
		b.t.Fatalf("%s: %d keys, %v", name, len(keys), err)
	}
	return keys[0]
}

func TestClientsOfAnAgentSignWithoutCredentials(t *testing.T) {
	b := newBench(t, nil)
	short, long := sha256.Sum256([]byte("hello")), sha512.Sum512([]byte("hello"))
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	for _, test := range []struct {
		key    string
		digest []byte
		opts   crypto.SignerOpts
	}{
		{"demo/rsa-2048", short[:], crypto.SHA256}, {"demo/rsa-2048", long[:], crypto.SHA512}, {"demo/rsa-2048", short[:], pss},
		{"demo/p-256", short[:], crypto.SHA256}, {"demo/p-256", long[:], crypto.SHA512}, {"demo/p-256", short[:20], crypto.Hash(0)},
		{"demo/p-521", long[:], crypto.SHA512}, {"demo/p-521", bytes.Repeat([]byte{0xff}, 66), crypto.Hash(0)},
		{"demo/gpg-p-256", short[:], crypto.SHA256},
	} {
		key := b.key(test.key)
		signature, err := key.SignContext(b.context(), test.digest, test.opts)
		if err != nil {
			t.Errorf("%s: %v", test.key, err)
			continue
		}
		valid := false
		switch public := key.Public().(type) {
		case *rsa.PublicKey:
			valid = rsa.VerifyPKCS1v15(public, test.opts.HashFunc(), test.digest, signature) == nil
			if test.opts == crypto.SignerOpts(pss) {
				valid = rsa.VerifyPSS(public, crypto.SHA256, test.digest, signature, pss) == nil
			}
		case *ecdsa.PublicKey:
			valid = ecdsa.VerifyASN1(public, test.digest, signature)
		}
		if !valid {
			t.Errorf("%s: the signature does not verify", test.key)
		}
	}
}

func TestClientsOfAnAgentReadWhatBelongsToKeys(t *testing.T) {
	b := newBench(t, nil)
	key := b.key("demo/p-256")
	chain, err := key.Chain(b.context())
	if err != nil || len(chain) == 0 {
		t.Errorf("%d issuers, %v", len(chain), err)
	}
	certificate, err := b.client().Certificate(b.context(), "demo", "p-256")
	if err != nil || !certificate.Equal(key.Certificate()) {
		t.Errorf("another certificate, %v", err)
	}
	if gpg, err := b.client().GPGPublicKey(b.context(), "demo", "gpg-p-256"); err != nil || len(gpg) == 0 {
		t.Errorf("%d bytes of a GPG key, %v", len(gpg), err)
	}
	if health, err := b.client().Health(b.context()); err != nil || health.Status != http.StatusOK || health.Text == "" {
		t.Errorf("health: %+v, %v", health, err)
	}
	all, err := b.client().Policies(b.context(), signpath.Filter{})
	if err != nil || len(all) != 4 {
		t.Errorf("%d keys, %v", len(all), err)
	}
}

// TestOnlyNamedKeysCanBeUsed: neither by asking nor by knowing their names.
func TestOnlyNamedKeysCanBeUsed(t *testing.T) {
	b := newBench(t, func(o *agent.Options) { o.Keys = []string{"demo/p-256", "demo/gpg-p-256", "demo/p-256"} })
	client := b.client()
	all, err := client.Policies(b.context(), signpath.Filter{})
	var names []string
	for _, key := range all {
		names = append(names, key.ID())
	}
	if err != nil || !slices.Equal(names, []string{"demo/gpg-p-256", "demo/p-256"}) {
		t.Errorf("the keys are %q, %v", names, err)
	}
	if keys, err := client.Policies(b.context(), signpath.Filter{ProjectSlug: "demo", SigningPolicySlug: "p-521"}); err != nil || len(keys) != 0 {
		t.Errorf("%d other keys, %v", len(keys), err)
	}
	other, err := client.KnownKey("demo", "p-521", all[0].Public())
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("hello"))
	_, err = other.SignContext(b.context(), digest[:], crypto.SHA256)
	wantStatus(t, err, http.StatusForbidden, "the agent has no key")
	if len(b.events) != 1 || b.events[0].Key != "demo/p-521" || b.events[0].Kind != key.NoSuchPolicy {
		t.Errorf("recorded %+v", b.events)
	}
	_, err = client.Certificate(b.context(), "demo", "p-521")
	wantStatus(t, err, http.StatusForbidden, "the agent has no key")
	if b.requests("SignHash") != 0 {
		t.Error("the service was asked for a signature")
	}
	if err := b.sign("demo/p-256"); err != nil {
		t.Error(err)
	}
}

func wantStatus(t *testing.T, err error, status int, text string) {
	t.Helper()
	var service *signpath.Error
	if !errors.As(err, &service) || service.Status != status || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %d and %q", err, status, text)
	}
}

func (b *bench) sign(key string) error {
	digest := sha256.Sum256([]byte("hello"))
	_, err := b.key(key).SignContext(b.context(), digest[:], crypto.SHA256)
	return err
}

// TestOtherRoutesAreRefused: what no signature needs does not reach the service, whatever it looks like.
func TestOtherRoutesAreRefused(t *testing.T) {
	b := newBench(t, func(o *agent.Options) { o.Keys = []string{"demo/p-256"} })
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", config.RESTSocket(b.path))
	}}
	defer transport.CloseIdleConnections()
	before := len(b.service.Requests())
	const root = "http://agent/v1/x"
	for _, request := range []struct{ method, url, body string }{
		{"GET", root + "/Projects", ""}, {"POST", root + "/SigningRequests", "x"}, {"POST", root + "/SigningRequests/SubmitWithArtifact", "x"},
		{"GET", root + "/SigningRequests/8a71b7ab-cfbc-4c55-8f3c-9de274a77f53/SignedArtifact", ""}, {"GET", "http://agent/_mock/requests", ""},
		{"PUT", "http://agent/_mock/faults", "{}"}, {"DELETE", root + "/Cryptoki/MySigningPolicies", ""}, {"CONNECT", "http://agent/", ""},
		{"GET", root + "/Projects/demo/SigningPolicies/p-256/../p-521/Certificate/X509Certificate", ""},
		{"GET", root + "/Projects/demo%2Fp-256/SigningPolicies/..%2Fp-521/Certificate/X509Certificate", ""},
		{"GET", root + "/Certificates/p-521", ""},
		{"POST", root + "/SigningRequests/SignHash", ""}, {"POST", root + "/SigningRequests/SignHash", "{}"},
		{"POST", root + "/SigningRequests/SignHash", `{"projectSlug":"demo","signingPolicySlug":"p-256"}`},
		{"POST", root + "/SigningRequests/SignHash", `{"hashSigningData":{"signatureAlgorithm":"Ecdsa","ecdsaOptions":{"signatureFormat":"Ieee"},"hash":"AAAA"}}`},
		{"POST", root + "/SigningRequests/SignHash", `{"projectSlug":"demo","hashSigningData":{"signatureAlgorithm":"Ecdsa","ecdsaOptions":{"signatureFormat":"Ieee"},"hash":"AAAA"}}`},
		{"POST", root + "/SigningRequests/SignHash", strings.Repeat("x", 1<<20)},
	} {
		r, err := http.NewRequestWithContext(b.context(), request.method, request.url, strings.NewReader(request.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Errorf("%s %s: %v", request.method, request.url, err)
			continue
		}
		answer.Body.Close()
		if answer.StatusCode < 300 {
			t.Errorf("%s %s: %s", request.method, request.url, answer.Status)
		}
	}
	if after := len(b.service.Requests()); after != before {
		t.Errorf("%d requests reached the service: %+v", after-before, b.service.Requests())
	}
}

// TestBudgetHoldsUnderParallelSignatures: not one more than there may be reaches the service.
func TestBudgetHoldsUnderParallelSignatures(t *testing.T) {
	const most, tried = 10, 64
	b := newBench(t, func(o *agent.Options) { o.MaxSignatures = most })
	key := b.key("demo/p-256")
	var all sync.WaitGroup
	var mu sync.Mutex
	signed := 0
	for i := range tried {
		all.Go(func() {
			digest := sha256.Sum256([]byte(fmt.Sprint(i)))
			_, err := key.SignContext(b.context(), digest[:], crypto.SHA256)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				signed++
				return
			}
			wantStatus(t, err, http.StatusForbidden, "--max-signatures")
		})
	}
	all.Wait()
	if asked := b.requests("SignHash"); signed != most || asked != most {
		t.Errorf("%d signatures, and %d were asked for", signed, asked)
	}
	if totals := b.agent.Totals(); totals.Signatures != most || totals.Failures != tried-most {
		t.Errorf("counted: %+v", totals)
	}
}

// TestRefusedSignaturesDoNotCount: what the service refused was not signed. What may have been counts.
func TestRefusedSignaturesDoNotCount(t *testing.T) {
	b := newBench(t, func(o *agent.Options) { o.MaxSignatures = 2 })
	b.fault("status", 403)
	wantStatus(t, b.sign("demo/p-256"), http.StatusForbidden, "is a submitter of this signing policy")
	b.fault("wrong-signature", 0)
	wantStatus(t, b.sign("demo/p-256"), http.StatusInternalServerError, "does not verify")
	if err := b.sign("demo/p-256"); err != nil {
		t.Error(err)
	}
	wantStatus(t, b.sign("demo/p-256"), http.StatusForbidden, "--max-signatures")
	var kinds []key.Kind
	for _, e := range b.events {
		kinds = append(kinds, e.Kind)
	}
	if want := []key.Kind{key.Forbidden, key.BadAnswer, "", key.Refused}; !slices.Equal(kinds, want) {
		t.Errorf("the events are of kinds %q, want %q", kinds, want)
	}
	if hint := b.events[0].Hint; !strings.Contains(hint, "is a submitter of this signing policy") {
		t.Errorf("hint: %q", hint)
	}
}

// TestSignaturesThatMayHaveBeenMadeCount, whatever the service answers afterwards.
func TestSignaturesThatMayHaveBeenMadeCount(t *testing.T) {
	for name, statuses := range map[string][]int{
		"no answer, then a refusal":                        {502, 403},
		"no answer, then an unknown route, then a refusal": {502, 404, 403},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(o *agent.Options) {
				retrying := *o.Config
				retrying.Timeouts.RetryCount, retrying.Timeouts.FirstRetryDelay = 3, time.Millisecond
				client, err := signpath.New(&retrying, signpath.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(client.Close)
				o.Client, o.MaxSignatures = client, 1
			})
			var faults []mockapi.Fault
			for _, status := range statuses {
				faults = append(faults, mockapi.Fault{Route: "sign", Kind: "status", Status: status})
			}
			if err := b.service.SetFaults(faults); err != nil {
				t.Fatal(err)
			}
			wantStatus(t, b.sign("demo/p-256"), http.StatusForbidden, "is a submitter of this signing policy")
			if left := b.service.Faults(); len(left) > 0 {
				t.Errorf("faults that no request met: %+v", left)
			}
			wantStatus(t, b.sign("demo/p-256"), http.StatusForbidden, "--max-signatures")
		})
	}
}

func (b *bench) fault(kind string, status int) {
	b.t.Helper()
	if err := b.service.SetFaults([]mockapi.Fault{{Route: "sign", Kind: kind, Status: status, Count: 1}}); err != nil {
		b.t.Fatal(err)
	}
}

// TestKeysAreReadOnce, and once more after one was found to be another.
func TestKeysAreReadOnce(t *testing.T) {
	b := newBench(t, nil)
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if err := b.sign("demo/p-256"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := b.requests("MySigningPolicies"); n != 1 {
		t.Errorf("%d requests for the policy", n)
	}
	b.fault("wrong-key", 0)
	if err := b.sign("demo/p-256"); err == nil {
		t.Error("a signature of another key was taken")
	}
	if err := b.sign("demo/p-256"); err != nil {
		t.Error(err)
	}
	if n := b.requests("MySigningPolicies"); n != 2 {
		t.Errorf("%d requests for the policy", n)
	}
}

func TestCertificatesAndPublicKeysAreFetchedOnce(t *testing.T) {
	b := newBench(t, nil)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			client := b.client()
			if _, err := client.Certificate(b.context(), "demo", "p-256"); err != nil {
				t.Error(err)
			}
			if _, err := client.GPGPublicKey(b.context(), "demo", "gpg-p-256"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, suffix := range []string{"/X509Certificate", "/GpgPublicKey"} {
		if n := b.requests(suffix); n != 1 {
			t.Errorf("%d requests for %s", n, suffix)
		}
	}
}

func TestEventsTellWhatWasSignedAndForWhom(t *testing.T) {
	b := newBench(t, nil)
	if err := b.sign("demo/p-256"); err != nil {
		t.Fatal(err)
	}
	b.fault("status", 403)
	if err := b.sign("demo/p-256"); err == nil {
		t.Error("signed")
	}
	digest := sha256.Sum256([]byte("hello"))
	if len(b.events) != 2 {
		t.Fatalf("%d events", len(b.events))
	}
	good, bad := b.events[0], b.events[1]
	for _, e := range b.events {
		if e.Key != "demo/p-256" || e.Digest != hex.EncodeToString(digest[:]) || e.Time.IsZero() || e.Caller == nil || e.Caller.PID != os.Getpid() {
			t.Errorf("an event is %+v", e)
		}
	}
	if good.Error != "" || good.RequestID == "" || good.WebLink == "" || good.Algorithm != "ECDSA" {
		t.Errorf("the signature is %+v", good)
	}
	if !strings.Contains(bad.Error, "403") || bad.RequestID != "" {
		t.Errorf("the failure is %+v", bad)
	}
	text, err := json.Marshal(b.events)
	if err != nil || bytes.Contains(text, []byte(b.service.Token())) {
		t.Errorf("an event shows the token, or %v", err)
	}
}

// TestFailuresAreTheServices: the agent repeats what can be repeated, and its clients say what the service said.
func TestFailuresAreTheServices(t *testing.T) {
	b := newBench(t, nil)
	b.fault("status", 401)
	err := b.sign("demo/p-256")
	wantStatus(t, err, http.StatusUnauthorized, "check SIGNPATH_API_TOKEN")
	if strings.Count(err.Error(), "POST") != 1 {
		t.Errorf("it says %q", err)
	}
	if err := b.end(); err != nil {
		t.Error(err)
	}
	client, err := signpath.New(b.settings("SIGNKIT_AGENT="+b.path), signpath.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = client.Policies(b.context(), signpath.Filter{}); err == nil || !strings.Contains(err.Error(), "check SIGNKIT_AGENT") {
		t.Errorf("without an agent: %v", err)
	}
}

// TestEndTakesEverythingAlong: connections that are open and used do not keep it.
func TestEndTakesEverythingAlong(t *testing.T) {
	b := newBench(t, nil)
	if err := b.service.SetFaults([]mockapi.Fault{{Route: "sign", Kind: "hang", Count: 1}}); err != nil {
		t.Fatal(err)
	}
	key := b.key("demo/p-256")
	ended := make(chan error, 1)
	go func() {
		digest := sha256.Sum256([]byte("hello"))
		_, err := key.SignContext(b.context(), digest[:], crypto.SHA256)
		ended <- err
	}()
	module, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: b.path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer module.Close()
	for deadline := time.Now().Add(bound); b.requests("SignHash") == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no signature is asked for")
		}
	}
	if err := b.end(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("it signed")
	}
	if _, err := os.Stat(filepath.Dir(b.path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}

func TestSocketsAreForThisUserAlone(t *testing.T) {
	b := newBench(t, nil)
	for path, mode := range map[string]os.FileMode{filepath.Dir(b.path): os.ModeDir | 0o700, b.path: os.ModeSocket | 0o600, config.RESTSocket(b.path): os.ModeSocket | 0o600} {
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestSocketsForOthers(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "sa")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "agent")
	s, err := agent.Listen(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, path := range []string{path, config.RESTSocket(path)} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o666 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// dialAs connects as another user: one thread becomes that one, and ends.
func dialAs(t *testing.T, uid int, network, path string) net.Conn {
	t.Helper()
	type dialed struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialed, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if _, _, failed := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); failed != 0 {
			done <- dialed{nil, failed}
			return
		}
		conn, err := net.Dial(network, path)
		done <- dialed{conn, err}
	}()
	d := <-done
	if d.err != nil {
		t.Fatal(d.err)
	}
	t.Cleanup(func() { d.conn.Close() })
	return d.conn
}

// TestUsersWhoWereNotNamedAreRefused at both sockets, where the file system lets everybody connect.
func TestUsersWhoWereNotNamedAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be several users")
	}
	const named, other = 12345, 12346
	b := newBench(t, func(o *agent.Options) { o.AllowUIDs = []int{named} })
	dir, err := os.MkdirTemp("/tmp", "sa")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "agent")
	s, err := agent.Listen(path, true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.agent.Serve(ctx, s) }()
	defer func() {
		cancel()
		if err := errors.Join(<-served, s.Close()); err != nil {
			t.Error(err)
		}
	}()
	ask := map[string][]byte{
		"unixpacket": wire.Hello(version.Version),
		"unix":       []byte("GET /agent HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"),
	}
	for _, uid := range []int{os.Geteuid(), named, other} {
		for network, request := range ask {
			at := path
			if network == "unix" {
				at = config.RESTSocket(path)
			}
			conn := dialAs(t, uid, network, at)
			_ = conn.SetDeadline(time.Now().Add(bound))
			_, err := conn.Write(request)
			answer := make([]byte, 4096)
			n := 0
			if err == nil {
				n, err = conn.Read(answer)
			}
			answered := err == nil && n > 0
			if network == "unix" {
				answered = answered && bytes.HasPrefix(answer, []byte("HTTP/1.1 200"))
			}
			if answered != (uid != other) {
				t.Errorf("uid %d, %s: %d bytes, %v", uid, network, n, err)
			}
		}
	}
}

// TestToolsThatHangHoldNobodyUp: whoever has begun a greeting or a request and does not go on is let go after a time, and others
// sign meanwhile. A module that has greeted may be silent for as long as it likes.
func TestToolsThatHangHoldNobodyUp(t *testing.T) {
	b := newBench(t, func(o *agent.Options) { o.Patience = 2 * time.Second })
	key := b.key("demo/p-256")
	request := "POST /v1/x/SigningRequests/SignHash HTTP/1.1\r\nHost: agent\r\nContent-Length: 1000\r\n\r\n{"
	hanging := map[string]struct {
		network string
		says    []byte
		stays   bool
	}{
		"module, no greeting":        {"unixpacket", nil, false},
		"module, after its greeting": {"unixpacket", wire.Hello(version.Version), true},
		"client, half a line":        {"unix", []byte("POST /v1/x/Signing"), false},
		"client, half a header":      {"unix", []byte(request[:60]), false},
		"client, half a body":        {"unix", []byte(request), false},
		"client that never reads":    {"unix", bytes.Repeat([]byte("GET /agent HTTP/1.1\r\nHost: agent\r\n\r\n"), 200), true},
	}
	conns := map[string][]net.Conn{}
	for name, h := range hanging {
		path := b.path
		if h.network == "unix" {
			path = config.RESTSocket(path)
		}
		for range 8 {
			conn, err := net.Dial(h.network, path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(bound))
			if _, err := conn.Write(h.says); err != nil && len(h.says) > 0 {
				t.Fatalf("%s: %v", name, err)
			}
			conns[name] = append(conns[name], conn)
		}
	}
	for i := range 8 {
		digest := sha256.Sum256([]byte(fmt.Sprint(i)))
		if _, err := key.SignContext(b.context(), digest[:], crypto.SHA256); err != nil {
			t.Errorf("beside tools that hang: %v", err)
		}
	}
	for name, h := range hanging {
		for _, conn := range conns[name] {
			if h.stays {
				continue
			}
			if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("%s: it is not let go: %v", name, err)
			}
		}
	}
	for _, conn := range conns["module, after its greeting"] {
		if n, err := conn.Read(make([]byte, wire.HelloSize)); n != wire.HelloSize || err != nil {
			t.Errorf("a module that has greeted gets %d bytes, %v", n, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a module that has greeted was let go: %d bytes, %v", n, err)
		}
	}
}

// TestAFolderThatIsSwappedHasNoAgent: whoever can rename the folder of the sockets gets no request: an agent is one of this user
// or of root.
func TestAFolderThatIsSwappedHasNoAgent(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be several users")
	}
	b := newBench(t, nil)
	dir, err := os.MkdirTemp("/tmp", "sa")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	folder := filepath.Join(dir, "run")
	if err := os.Rename(filepath.Dir(b.path), folder); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, filepath.Base(b.path))
	sign := func() error {
		client, err := signpath.New(b.settings("SIGNKIT_AGENT="+path), signpath.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_, err = client.Policies(b.context(), signpath.Filter{})
		return err
	}
	if err := sign(); err != nil {
		t.Fatalf("before: %v", err)
	}
	if err := errors.Join(os.Rename(folder, folder+".old"), os.Mkdir(folder, 0o777), os.Chmod(folder, 0o777), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	impostor := listenAs(t, 12345, config.RESTSocket(path))
	heard := make(chan int, 1)
	go func() {
		conn, err := impostor.Accept()
		if err != nil {
			heard <- -1
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(bound))
		n, _ := conn.Read(make([]byte, 1))
		heard <- n
	}()
	if err := sign(); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
		t.Errorf("with another user's folder in its place: %v", err)
	}
	if n := <-heard; n != 0 {
		t.Errorf("another user's agent was told %d bytes", n)
	}
	if err := errors.Join(os.RemoveAll(folder), os.Rename(folder+".old", filepath.Dir(b.path))); err != nil {
		t.Fatal(err)
	}
}

// listenAs listens as another user: see dialAs.
func listenAs(t *testing.T, uid int, path string) net.Listener {
	t.Helper()
	type listening struct {
		listener net.Listener
		err      error
	}
	done := make(chan listening, 1)
	go func() {
		runtime.LockOSThread()
		if _, _, failed := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); failed != 0 {
			done <- listening{nil, failed}
			return
		}
		listener, err := net.Listen("unix", path)
		if err == nil {
			err = os.Chmod(path, 0o777)
		}
		done <- listening{listener, err}
	}()
	l := <-done
	if l.err != nil {
		t.Fatal(l.err)
	}
	t.Cleanup(func() { l.listener.Close() })
	return l.listener
}

func TestSocketsTakeNobodysPlace(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "sa")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "agent")
	first, err := agent.Listen(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Listen(path, false); err == nil || !strings.Contains(err.Error(), "another agent listens there") {
		t.Errorf("a second one: %v", err)
	}
	first.Close()
	stale, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	again, err := agent.Listen(path, false)
	if err != nil {
		t.Fatalf("after one that was killed: %v", err)
	}
	again.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(dir, "missing", "agent"), "/tmp/" + strings.Repeat("x", 120)} {
		if _, err := agent.Listen(path, false); err == nil {
			t.Errorf("%s was taken", path)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "mine" {
		t.Errorf("the file is %q, %v", data, err)
	}
}

// TestEachPairOfSocketsHasEventsOfItsOwn: an agent that serves several tells them apart.
func TestEachPairOfSocketsHasEventsOfItsOwn(t *testing.T) {
	b := newBench(t, nil)
	ctx, stop := context.WithCancel(b.context())
	defer stop()
	var pairs [2]*agent.Sockets
	var lists [2]chan event.Event
	var ended sync.WaitGroup
	for i := range pairs {
		sockets, err := agent.ListenPrivate()
		if err != nil {
			t.Fatal(err)
		}
		lists[i] = make(chan event.Event, 10)
		sockets.Record = func(e event.Event) { lists[i] <- e }
		pairs[i] = sockets
		ended.Go(func() {
			if err := errors.Join(b.agent.Serve(ctx, sockets), sockets.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	for i, sockets := range pairs {
		client, err := signpath.New(b.settings("SIGNKIT_AGENT="+sockets.Path()), signpath.Options{})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := client.Policies(b.context(), signpath.Filter{ProjectSlug: "demo", SigningPolicySlug: "p-256"})
		if err != nil || len(keys) != 1 {
			t.Fatal(keys, err)
		}
		digest := sha256.Sum256([]byte{byte(i)})
		if _, err := keys[0].SignContext(b.context(), digest[:], crypto.SHA256); err != nil {
			t.Fatal(err)
		}
		client.Close()
		if e := <-lists[i]; e.Digest != hex.EncodeToString(digest[:]) || len(lists[0])+len(lists[1]) > 0 {
			t.Errorf("pair %d is told %+v, and there are more", i, e)
		}
	}
	if len(b.events) != 2 {
		t.Errorf("the agent's own recorder got %d events", len(b.events))
	}
	stop()
	ended.Wait()
}
