package moduletest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"signkit/internal/config"
	"signkit/internal/mockapi"
)

// effect is one setting and what it changes for a tool that signs with demo/rsa-2048.
type effect struct {
	variable string
	other    string // a value to compare with; "": not set
	value    string
	beside   string // further settings, separated by blanks
	faults   []mockapi.Fault
	threads  string // how many sign at the same time
	seen     func(*testing.T, sight) string
	without  string // what is seen with other
	with     string // what is seen with value
}

// sight is all that can be seen of one run.
type sight struct {
	outcome
	stage *stage
}

// effects has a row for each setting and each other variable that is documented. {…} are of the stage.
var effects = []effect{
	{variable: "SIGNPATH_ORGANIZATION_ID", value: "{org}", seen: success, without: "fails", with: "signs"},
	{variable: "SIGNPATH_API_TOKEN", value: "{token}", seen: success, without: "fails", with: "signs"},
	{variable: "SIGNPATH_API_TOKEN_FILE", value: "{dir}/token", beside: "SIGNPATH_API_TOKEN=", seen: success, without: "fails", with: "signs"},
	{variable: "SIGNPATH_API_URL", other: "{url}/elsewhere", value: "{url}", seen: success, without: "fails", with: "signs"},
	{variable: "SIGNPATH_TLS_CLIENT_CERTIFICATE", value: "thumbprint:AB",
		seen: says("SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE"), without: "silent", with: "said"},
	{variable: "SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE", value: "{dir}/client.pem", beside: "SIGNPATH_API_URL={front} SIGNKIT_CA_FILE={dir}/front.pem",
		seen: clientCertificate, without: "", with: "CN=client"},
	{variable: "SIGNKIT_CA_FILE", value: "{ca}", seen: success, without: "fails", with: "signs"},
	{variable: "SSL_CERT_FILE", value: "{ca}", beside: "SIGNKIT_CA_FILE=", seen: success, without: "fails", with: "signs"},
	{variable: "SSL_CERT_DIR", value: "{dir}/certs", beside: "SIGNKIT_CA_FILE=", seen: success, without: "fails", with: "signs"},

	{variable: "http_proxy", value: "{proxy}", beside: "SIGNPATH_API_URL={far}", seen: proxied, without: "direct", with: "through the proxy"},
	{variable: "https_proxy", other: "", value: "{proxy}", beside: "SIGNPATH_API_URL={far}", seen: proxied, without: "direct", with: "through the proxy"},
	{variable: "no_proxy", value: "signing.invalid", beside: "SIGNPATH_API_URL={far} http_proxy={proxy}",
		seen: proxied, without: "through the proxy", with: "direct"},

	{variable: "SIGNPATH_PROJECT_SLUG", other: "demo", value: "other", seen: success, without: "signs", with: "fails"},
	{variable: "SIGNPATH_SIGNING_POLICY_SLUG", other: "rsa-2048", value: "gpg-rsa", seen: success, without: "signs", with: "fails"},
	{variable: "SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS", value: "true", seen: line("read/write"), without: "0xe2", with: "0x0"},
	{variable: "SIGNPATH_INCLUDE_DUMMY_X509CERTIFICATE_FOR_GPG_KEYS", value: "true", seen: line("certificates"), without: "1", with: "2"},
	{variable: "SIGNKIT_CERTIFICATE_CHAIN_FILE", value: "{root}", seen: line("issuers"), without: "0", with: "1"},

	{variable: "SIGNPATH_LOG_CONSOLE_LEVEL", value: "info", seen: says(": signed policy="), without: "silent", with: "said"},
	{variable: "SIGNPATH_LOG_CONSOLE_OUTPUT_STREAM", value: "stdout", beside: "SIGNPATH_LOG_CONSOLE_LEVEL=info",
		seen: says(": signed policy="), without: "said", with: "silent"},
	{variable: "SIGNPATH_LOG_FILE_LEVEL", value: "info", beside: "SIGNPATH_LOG_FILE_DIRECTORY={dir}/log", seen: logged, without: "no record", with: "signed"},
	{variable: "SIGNPATH_LOG_FILE_DIRECTORY", value: "{dir}/log", beside: "SIGNPATH_LOG_FILE_LEVEL=info", seen: logged, without: "no record", with: "signed"},
	{variable: "SIGNKIT_EVENTS", value: "{dir}/events.jsonl", seen: recorded, without: "no record", with: "signed"},

	{variable: "SIGNPATH_HTTP_REQUEST_TIMEOUT_IN_SECONDS", other: "2", value: "1", faults: []mockapi.Fault{always("any", "hang")},
		seen: part(`no answer within (\S+):`), without: "2s", with: "1s"},
	{variable: "SIGNPATH_TIMEOUTS_RETRY_COUNT", other: "1", value: "2", beside: "SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY=0",
		faults: []mockapi.Fault{status("sign", 503)}, seen: attempts, without: "2 attempts", with: "3 attempts"},
	{variable: "SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY", other: "0", value: "1",
		beside: "SIGNPATH_TIMEOUTS_RETRY_COUNT=1 SIGNPATH_LOG_CONSOLE_LEVEL=warning",
		faults: []mockapi.Fault{{Route: "sign", Kind: "status", Status: 503, Count: 1}},
		seen:   says("waiting 0s before the next attempt"), without: "said", with: "silent"},
	{variable: "SIGNPATH_SERVICE_UNAVAILABLE_TIMEOUT_IN_SECONDS", value: "600",
		beside: "SIGNPATH_TIMEOUTS_RETRY_COUNT=1 SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY=0 SIGNPATH_LOG_CONSOLE_LEVEL=warning",
		faults: []mockapi.Fault{{Route: "sign", Kind: "status", Status: 503, Count: 1}},
		seen:   part(`so far, ([a-z]+ \S+)`), without: "retry 1", with: "at most"},

	{variable: "SIGNKIT_MAX_PARALLEL", other: "4", value: "1", threads: "4", beside: "SIGNPATH_API_URL={front} SIGNKIT_CA_FILE={dir}/front.pem",
		seen: atOnce, without: "several", with: "one"},
	{variable: "SIGNKIT_DESCRIPTION", value: "nightly", seen: audited("nightly"), without: "not filed", with: "filed"},
	{variable: "SIGNKIT_SIGN_ROUTE", other: "sign-hash", value: "signing-requests",
		seen: signPath, without: "/SigningRequests/SignHash", with: "/SigningRequests"},

	{variable: "SIGNPATH_CONFIG_FILE", value: "{dir}/config.json", seen: success, without: "signs", with: "fails"},
	{variable: "SIGNKIT_TOKEND", value: "{dir}/nothing", seen: success, without: "signs", with: "fails"},
	{variable: "SIGNKIT_AGENT", value: "{dir}/nothing", seen: success, without: "signs", with: "fails"},

	{variable: "CI_JOB_URL", value: "https://ci.example/1", seen: audited("https://ci.example/1"), without: "not filed", with: "filed"},
	{variable: "CI_COMMIT_SHA", value: "c0ffee", beside: "CI_JOB_URL=https://ci.example/1", seen: audited("c0ffee"), without: "not filed", with: "filed"},
	{variable: "GITHUB_SERVER_URL", value: "https://gh.example", beside: "GITHUB_REPOSITORY=o/r GITHUB_RUN_ID=7",
		seen: audited("https://gh.example/o/r/actions/runs/7"), without: "not filed", with: "filed"},
	{variable: "GITHUB_REPOSITORY", value: "o/r", beside: "GITHUB_SERVER_URL=https://gh.example GITHUB_RUN_ID=7",
		seen: audited("https://gh.example/o/r/actions/runs/7"), without: "not filed", with: "filed"},
	{variable: "GITHUB_RUN_ID", value: "7", beside: "GITHUB_SERVER_URL=https://gh.example GITHUB_REPOSITORY=o/r",
		seen: audited("https://gh.example/o/r/actions/runs/7"), without: "not filed", with: "filed"},
	{variable: "GITHUB_SHA", value: "c0ffee", beside: "GITHUB_SERVER_URL=https://gh.example GITHUB_REPOSITORY=o/r GITHUB_RUN_ID=7",
		seen: audited("c0ffee"), without: "not filed", with: "filed"},
	{variable: "SYSTEM_COLLECTIONURI", value: "https://az.example/", beside: "SYSTEM_TEAMPROJECT=p BUILD_BUILDID=7",
		seen: audited("https://az.example/p/_build/results?buildId=7"), without: "not filed", with: "filed"},
	{variable: "SYSTEM_TEAMPROJECT", value: "p", beside: "SYSTEM_COLLECTIONURI=https://az.example/ BUILD_BUILDID=7",
		seen: audited("https://az.example/p/_build/results?buildId=7"), without: "not filed", with: "filed"},
	{variable: "BUILD_BUILDID", value: "7", beside: "SYSTEM_COLLECTIONURI=https://az.example/ SYSTEM_TEAMPROJECT=p",
		seen: audited("https://az.example/p/_build/results?buildId=7"), without: "not filed", with: "filed"},
	{variable: "BUILD_SOURCEVERSION", value: "c0ffee", beside: "SYSTEM_COLLECTIONURI=https://az.example/ SYSTEM_TEAMPROJECT=p BUILD_BUILDID=7",
		seen: audited("c0ffee"), without: "not filed", with: "filed"},
	{variable: "BUILD_URL", value: "https://jenkins.example/1/", seen: audited("https://jenkins.example/1/"), without: "not filed", with: "filed"},
	{variable: "GIT_COMMIT", value: "c0ffee", beside: "BUILD_URL=https://jenkins.example/1/", seen: audited("c0ffee"), without: "not filed", with: "filed"},
}

// elsewhere are documented variables that the module's token process does not read, and the test that shows the effect of each.
var elsewhere = map[string]string{
	"SIGNKIT_SCDAEMON": "../../../internal/cli/testdata/script/gpg-init-refuses.txtar",
	"SIGNKIT_TSA_URL":  "../../../tests/integration/openssl_test.go",
}

// TestEverySettingIsProved: a setting, or another variable that is read or documented, without a row fails here. That other names
// of a setting and those in the file mean the same is proved in internal/config.
func TestEverySettingIsProved(t *testing.T) {
	wanted := map[string]bool{"SIGNPATH_API_TOKEN_FILE": true}
	aliases := map[string]bool{}
	for _, s := range config.Settings() {
		wanted[s.Environment[0]] = true
		for _, name := range s.Environment[1:] {
			aliases[name] = true
		}
	}
	page, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile(`\bSIGN(KIT|PATH)_[A-Z0-9_]*[A-Z0-9]\b`).FindAllString(string(page), -1)
	for _, name := range append(config.EnvironmentNames(), documented...) {
		if !aliases[name] {
			wanted[name] = true
		}
	}
	for name, file := range elsewhere {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), name) {
			t.Errorf("%s is not about %s: %v", file, name, err)
		}
		delete(wanted, name)
	}
	rows := map[string]bool{}
	for _, e := range effects {
		if rows[e.variable] || e.without == e.with || e.other == e.value {
			t.Errorf("%s: a second row, or one that shows nothing", e.variable)
		}
		rows[e.variable] = true
	}
	for name := range wanted {
		if !rows[name] {
			t.Errorf("%s is read or documented, and no row here shows its effect", name)
		}
	}
	for name := range rows {
		if !wanted[name] {
			t.Errorf("%s is no setting", name)
		}
	}
}

// TestSettingsHaveTheirEffects in a real host: each is tried with two values, and what is seen must differ as it should.
func TestSettingsHaveTheirEffects(t *testing.T) {
	t.Parallel()
	program := shared.program(t, "settings", "cc")
	state := seedState(t)
	for _, e := range effects {
		t.Run(e.variable, func(t *testing.T) {
			t.Parallel()
			for _, half := range []struct {
				value, want string
				patience    time.Duration // for a second request at the same time
			}{{e.other, e.without, bound}, {e.value, e.with, 300 * time.Millisecond}} {
				args := []string{program, shared.variant[0].module, "demo/rsa-2048"}
				patience := time.Duration(0)
				if e.threads != "" {
					args, patience = append(args, e.threads), half.patience
				}
				s := newStage(t, state, patience)
				if err := s.service.SetFaults(e.faults); err != nil {
					t.Fatal(err)
				}
				got, err := launch(args, s.environment(e, half.value))
				if err != nil {
					t.Fatal(err)
				}
				if seen := e.seen(t, sight{got, s}); seen != half.want {
					t.Errorf("with the value %q: %q is seen, want %q; ended with %d:\n%s%s", half.value, seen, half.want, got.code, got.stdout, got.stderr)
				}
				s.close(t)
			}
		})
	}
}

// What is seen.

func success(_ *testing.T, s sight) string {
	if s.code == 0 && strings.Contains(s.stdout, "signature ") {
		return "signs"
	}
	return "fails"
}

// says is about stderr alone.
func says(text string) func(*testing.T, sight) string {
	return func(_ *testing.T, s sight) string {
		if strings.Contains(s.stderr, text) {
			return "said"
		}
		return "silent"
	}
}

func part(expression string) func(*testing.T, sight) string {
	return func(_ *testing.T, s sight) string {
		if found := regexp.MustCompile(expression).FindStringSubmatch(s.stderr); found != nil {
			return found[1]
		}
		return ""
	}
}

// line is what the host prints after a word.
func line(word string) func(*testing.T, sight) string {
	return func(_ *testing.T, s sight) string {
		_, rest, _ := strings.Cut(s.stdout, word+" ")
		value, _, _ := strings.Cut(rest, "\n")
		return value
	}
}

func logged(t *testing.T, s sight) string {
	text, err := os.ReadFile(filepath.Join(s.stage.dir, "log", "SignPath.CryptoProviders.Cryptoki.txt"))
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	if strings.Contains(string(text), "signed") {
		return "signed"
	}
	return "no record"
}

// recorded is about the events.
func recorded(t *testing.T, s sight) string {
	text, err := os.ReadFile(filepath.Join(s.stage.dir, "events.jsonl"))
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	if strings.Contains(string(text), `"signingRequestId"`) {
		return "signed"
	}
	return "no record"
}

func audited(text string) func(*testing.T, sight) string {
	return func(t *testing.T, s sight) string {
		audit, err := os.ReadFile(s.stage.service.AuditFile())
		if err != nil || len(audit) == 0 {
			t.Errorf("the audit log has no signature: %v", err)
		}
		if strings.Contains(string(audit), text) {
			return "filed"
		}
		return "not filed"
	}
}

func signPosts(s sight) []string {
	var paths []string
	for _, r := range s.stage.service.Requests() {
		if i := strings.Index(r.Path, "/SigningRequests"); i >= 0 && r.Method == http.MethodPost {
			paths = append(paths, r.Path[i:])
		}
	}
	return paths
}

func attempts(_ *testing.T, s sight) string { return strconv.Itoa(len(signPosts(s))) + " attempts" }

func signPath(_ *testing.T, s sight) string { return strings.Join(signPosts(s), " ") }

func clientCertificate(_ *testing.T, s sight) string {
	s.stage.mu.Lock()
	defer s.stage.mu.Unlock()
	return s.stage.client
}

func atOnce(_ *testing.T, s sight) string {
	s.stage.mu.Lock()
	defer s.stage.mu.Unlock()
	if s.code == 0 && s.stage.most == 1 {
		return "one"
	}
	if s.code == 0 && s.stage.most > 1 {
		return "several"
	}
	return "none"
}

func proxied(_ *testing.T, s sight) string {
	s.stage.mu.Lock()
	defer s.stage.mu.Unlock()
	if s.stage.tunnels > 0 && s.code == 0 {
		return "through the proxy"
	}
	return "direct" // there is no such host
}

// stage is a service of its own for one run, with what may stand in front of it.
type stage struct {
	dir      string
	service  *mockapi.Server
	front    *httptest.Server // TLS, asks for a client's certificate, passes all on
	proxy    *httptest.Server // of the kind that http_proxy names
	patience time.Duration    // of a request for a signature, until another comes

	mu      sync.Mutex
	client  string // subject of the last client certificate
	now     int    // requests for a signature under way at the front
	most    int    // of them at the same time
	more    chan struct{}
	tunnels int // that the proxy has opened
}

const stageConfig = `{"organizations":[{"name":"test","id":"generate","users":[{"name":"ci","token":"generate"}],
 "certificates":[{"slug":"rsa-2048","type":"X509","keyType":"Rsa","keySizeInBits":2048},{"slug":"gpg-rsa","type":"Gpg","keyType":"Rsa","keySizeInBits":2048}],
 "projects":[{"slug":"demo","policies":[{"slug":"rsa-2048","submitters":["ci"]},{"slug":"gpg-rsa","submitters":["ci"]}]}]}],"chainLength":2}`

// seedState is the state folder of a service that all stages are copies of: keys are made once.
func seedState(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "service.json"), []byte(stageConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	service, err := mockapi.Start(stageOptions(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := service.GenerateKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := service.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func stageOptions(t *testing.T, dir string) mockapi.Options {
	t.Helper()
	cfg, err := mockapi.LoadConfig(filepath.Join(dir, "service.json"))
	if err != nil {
		t.Fatal(err)
	}
	return mockapi.Options{Listen: "127.0.0.1:0", StateDir: filepath.Join(dir, "state"), Config: cfg, Log: io.Discard,
		Hosts: []string{"127.0.0.1", "signing.invalid"}}
}

func newStage(t *testing.T, seed string, patience time.Duration) *stage {
	t.Helper()
	s := &stage{dir: t.TempDir(), patience: patience, more: make(chan struct{})}
	if err := os.CopyFS(s.dir, os.DirFS(seed)); err != nil {
		t.Fatal(err)
	}
	service, err := mockapi.Start(stageOptions(t, s.dir))
	if err != nil {
		t.Fatal(err)
	}
	s.service = service
	s.startFront(t)
	s.proxy = httptest.NewServer(http.HandlerFunc(s.tunnel))
	for name, text := range map[string][]byte{
		"token":        []byte(service.Token()),
		"config.json":  []byte(`{"SigningPolicySlug":"gpg-rsa"}`),
		"client.pem":   clientPEM(t),
		"front.pem":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.front.Certificate().Raw}),
		"certs/ca.pem": read(t, service.CAFile()),
	} {
		path := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *stage) close(t *testing.T) {
	t.Helper()
	s.front.Close()
	s.proxy.Close()
	if err := s.service.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// environment has the setting with that value, what is beside it, and of the rest what a signature needs.
func (s *stage) environment(e effect, value string) []string {
	settings := map[string]string{"PATH": os.Getenv("PATH"), "SIGNPATH_LOG_CONSOLE_LEVEL": "error", "SIGNPATH_TIMEOUTS_RETRY_COUNT": "0"}
	for _, line := range s.service.Environment() {
		name, value, _ := strings.Cut(line, "=")
		settings[name] = value
	}
	for _, line := range strings.Fields(e.beside) {
		name, value, _ := strings.Cut(line, "=")
		settings[name] = value
	}
	settings[e.variable] = value
	far := strings.Replace(s.service.APIURL(), "127.0.0.1", "signing.invalid", 1)
	here := strings.NewReplacer("{dir}", s.dir, "{org}", s.service.OrganizationID(), "{token}", s.service.Token(), "{url}", s.service.APIURL(),
		"{ca}", s.service.CAFile(), "{root}", s.service.RootFile(), "{front}", s.front.URL+"/Api", "{far}", far, "{proxy}", s.proxy.URL)
	var env []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if settings[name] != "" {
			env = append(env, name+"="+here.Replace(settings[name]))
		}
	}
	return env
}

func (s *stage) startFront(t *testing.T) {
	t.Helper()
	target, err := url.Parse(s.service.BaseURL())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, s.service.CAFile()))
	pass := httputil.NewSingleHostReverseProxy(target)
	pass.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	s.front = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.noteClient(r)
		if r.Method == http.MethodPost {
			s.enter()
			defer s.leave()
		}
		pass.ServeHTTP(w, r)
	}))
	s.front.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.front.StartTLS()
}

func (s *stage) noteClient(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if list := r.TLS.PeerCertificates; len(list) > 0 {
		s.client = list[0].Subject.String()
	}
}

// enter counts a request for a signature, and gives another the time to come before it goes on.
func (s *stage) enter() {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	if s.most == 2 && s.now == 2 {
		select {
		case <-s.more:
		default:
			close(s.more)
		}
	}
	s.mu.Unlock()
	select {
	case <-s.more:
	case <-time.After(s.patience):
	}
}

func (s *stage) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
}

// tunnel answers CONNECT to whatever host by a way to the service.
func (s *stage) tunnel(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	s.mu.Lock()
	s.tunnels++
	s.mu.Unlock()
	service, err := net.DialTimeout("tcp", strings.TrimPrefix(s.service.BaseURL(), "https://"), bound)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer service.Close()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(bound))
	_ = service.SetDeadline(time.Now().Add(bound))
	if _, err := io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	ended := make(chan struct{}, 2)
	copyAll := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go copyAll(service, client)
	go copyAll(client, service)
	<-ended // the deadlines bound it
}

// clientPEM is a certificate of CN=client and its key.
func clientPEM(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	template.Subject.CommonName = "client"
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
}
