package signpath

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"signkit/internal/config"
)

// bareClient is a client for tests of messages; it makes no connection.
func bareClient(t testing.TB, adjust ...func(*config.Config)) *Client {
	t.Helper()
	cfg := &config.Config{OrganizationID: "org", APIToken: config.NewSecret(testToken), APIURL: "http://127.0.0.1:9/Api"}
	for _, f := range adjust {
		f(cfg)
	}
	c, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestErrorMessages(t *testing.T) {
	c := bareClient(t)
	q := call{method: "POST", path: "SigningRequests/SignHash"}
	const front = "POST /Api/v1/org/SigningRequests/SignHash: the service answered "
	html := http.Header{"Content-Type": {"text/html"}}
	for _, test := range []struct {
		status int
		header http.Header
		body   string
		want   string
	}{
		{400, nil, `{"type":"x","title":"Validation failed.","status":400,"traceId":"00-f61d-00","errors":{"B":["second","third"],"":["first"]}}`,
			front + "400 Bad Request: first; second; third; Validation failed. (traceId 00-f61d-00)"},
		{400, nil, `{"title":"Title","detail":"Detail","errors":{"A":"one text"}}`, front + "400 Bad Request: one text; Detail; Title"},
		{400, nil, `plain text from an older service`, front + "400 Bad Request: plain text from an older service"},
		{400, nil, `"a JSON string"`, front + "400 Bad Request: a JSON string"},
		{401, nil, "", front + "401 Unauthorized; check SIGNPATH_API_TOKEN"},
		{403, nil, `{"detail":"Not a submitter."}`, front + "403 Forbidden: Not a submitter.; check that the user of SIGNPATH_API_TOKEN is a submitter of this signing policy"},
		{404, nil, "", front + "404 Not Found; check SIGNPATH_ORGANIZATION_ID and SIGNPATH_API_URL"},
		{404, html, "<html><title>Not &amp; found</title>", front + "404 Not Found: Not & found; this is a web page, not the API: check SIGNPATH_API_URL"},
		{400, nil, "token " + testToken + " is\r\n\x1b[31mbad\u202e\x00", front + `400 Bad Request: token [redacted] is  \u001b[31mbad\u202e\u0000`},
		{500, nil, "\xff\xfe\x00\x01" + strings.Repeat("\x80a", 30), front + "500 Internal Server Error: 64 bytes that are no text"},
		{500, nil, "cut in a letter: \xc3", front + `500 Internal Server Error: cut in a letter: \ufffd`},
		{302, http.Header{"Location": {"https://login.example/x?y=" + testToken}}, "<a>",
			front + "302 Found; redirects are not followed, because the API token would travel to https://login.example; check SIGNPATH_API_URL"},
		{307, http.Header{"Location": {"/elsewhere"}}, "",
			front + "307 Temporary Redirect; redirects are not followed, because the API token would travel to the same host; check SIGNPATH_API_URL"},
		{308, nil, "", front + "308 Permanent Redirect; redirects are not followed; check SIGNPATH_API_URL"},
		{503, nil, `{"errors":null,"title":null,"traceId":7}`, front + `503 Service Unavailable: {"errors":null,"title":null,"traceId":7} (traceId 7)`},
		{599, nil, "", front + "599"},
	} {
		header := test.header
		if header == nil {
			header = http.Header{"Content-Type": {"application/problem+json"}}
		}
		if got := c.statusError(q, &answer{test.status, header, []byte(test.body)}).Error(); got != test.want {
			t.Errorf("%d %s\n got %s\nwant %s", test.status, test.body, got, test.want)
		}
	}
}

func TestConnectionErrorMessages(t *testing.T) {
	c := bareClient(t)
	q := call{method: "GET", path: "x"}
	const front = "GET /Api/v1/org/x: "
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	verification := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	for _, test := range []struct {
		err              error
		sent             bool
		want             string
		retry, transient bool
	}{
		{dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), false,
			front + "dial tcp: connect: connection refused; check SIGNPATH_API_URL, and whether this machine needs a proxy (http_proxy)", true, true},
		{dial(&net.DNSError{Err: "no such host", Name: "app.invalid", IsNotFound: true}), false,
			front + "dial tcp: lookup app.invalid: no such host; check the host name in SIGNPATH_API_URL, and name resolution here", true, true},
		{verification(x509.UnknownAuthorityError{}), false, front + "tls: failed to verify certificate: x509: certificate signed by unknown authority; " +
			"name the missing root certificate in SIGNKIT_CA_FILE, or check SIGNPATH_API_URL", false, false},
		{verification(x509.CertificateInvalidError{Reason: x509.Expired, Detail: "it is late"}), false, front + "tls: failed to verify certificate: " +
			"x509: certificate has expired or is not yet valid: it is late; check this machine's clock; if it is right, the service at SIGNPATH_API_URL needs a new certificate", false, false},
		{verification(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}), false, front + "tls: failed to verify certificate: " +
			"x509: certificate is not valid for any names, but wanted to match h; check the host name in SIGNPATH_API_URL", false, false},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, true, front + "remote error: tls: certificate required; " +
			"the server refused the TLS connection: check SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE and SIGNPATH_API_URL", false, false},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, false,
			front + "tls: first record does not look like a TLS handshake; check SIGNPATH_API_URL", false, false},
		{io.ErrUnexpectedEOF, true, front + "unexpected EOF", true, true},
		{context.DeadlineExceeded, true, front + "timed out: no answer within 0s: context deadline exceeded; " +
			"the time for one attempt is SIGNPATH_TIMEOUTS_HTTP_REQUEST", true, true},
		{&proxyError{"proxy:3128", 407}, false, front + "the proxy proxy:3128 answered 407 Proxy Authentication Required; check http_proxy", false, false},
		{&proxyError{"proxy:3128", 503}, false, front + "the proxy proxy:3128 answered 503 Service Unavailable; check http_proxy", true, true},
		{&net.OpError{Op: "proxyconnect", Err: dial(syscall.ECONNREFUSED)}, false, front + "proxyconnect: dial tcp: connection refused; check http_proxy", true, true},
		{&tooLargeError{5}, true, front + "the answer is larger than 5 bytes; check SIGNPATH_API_URL", false, false},
	} {
		e := c.connectionError(q, test.err, test.sent, c.cfg.Timeouts.HTTPRequest)
		if e.Error() != test.want || e.retry != test.retry || e.Kind.Transient() != test.transient {
			t.Errorf("\n got %s (retry %v, transient %v)\nwant %s", e, e.retry, e.Kind.Transient(), test.want)
		}
		if !errors.Is(e, test.err) && e.Unwrap() == nil {
			t.Errorf("%v: cause lost", test.err)
		}
	}
}

func TestErrorsAreFoundThroughWraps(t *testing.T) {
	inner := &Error{Status: 418}
	var e *Error
	if !errors.As(fmt.Errorf("a: %w", fmt.Errorf("b: %w", inner)), &e) || e != inner {
		t.Error("not found")
	}
}

func TestErrorTextsAreBounded(t *testing.T) {
	c := bareClient(t)
	body := `{"errors":{"A":[` + strings.Repeat(`"`+strings.Repeat("é", 2000)+`",`, 3) + strings.Repeat(`"x",`, 50) + `"y"]}}`
	e := c.statusError(call{method: "GET"}, &answer{400, http.Header{}, []byte(body)})
	if len(e.Texts) > maxTexts || len([]rune(e.Texts[0])) != maxText+1 {
		t.Errorf("%d texts, first has %d characters", len(e.Texts), len([]rune(e.Texts[0])))
	}
}

// TestTokenSource: the hint says where the rejected token came from.
func TestTokenSource(t *testing.T) {
	cfg, err := config.Load([]string{"SIGNPATH_API_URL=http://127.0.0.1:9", "SIGNPATH_ORGANIZATION_ID=" + testOrg}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if cfg, err = cfg.WithPIN(testOrg + ":" + testToken); err != nil {
		t.Fatal(err)
	}
	c, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := c.statusError(call{method: "GET"}, &answer{status: 401})
	if !strings.HasSuffix(e.Error(), "check SIGNPATH_API_TOKEN (from PIN)") {
		t.Error(e)
	}
}

func TestHTMLInsteadOfJSON(t *testing.T) {
	for _, contentType := range []string{"text/html; charset=utf-8", "application/json"} {
		s := newService(t, true)
		s.handle("GET", "Cryptoki/MySigningPolicies", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write([]byte("<!DOCTYPE html><html><head><title>Sign\nin</title>"))
		})
		_, err := newTestClient(t, s.config()).Policies(t.Context(), Filter{})
		if err == nil || !strings.HasSuffix(err.Error(),
			"200 OK: a web page instead of JSON (Sign in); SIGNPATH_API_URL probably does not point at the API") {
			t.Error(err)
		}
	}
}

func TestLargeAnswersAreRefused(t *testing.T) {
	s := newService(t, true)
	s.handle("POST", "SigningRequests/SignHash", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, limitAnswer+1))
	})
	s.handle("GET", "Cryptoki/MySigningPolicies", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(append(make([]byte, 0), `{"signingPolicies":[],"x":"`+strings.Repeat("x", int(limitAnswer))+`"}`...))
	})
	c := newTestClient(t, s.config())
	if _, err := c.key("rsa").SignContext(t.Context(), digest32, ECDSAOptions{}); err == nil {
		t.Error("no error")
	}
	_, err := c.signVia(t.Context(), generations()[0], c.key("p-256"), &signRequest{scheme: ecdsaScheme})
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
	if _, err := c.Policies(t.Context(), Filter{}); err != nil {
		t.Errorf("a list may be longer: %v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	reached := false
	other := newService(t, true)
	other.mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { reached = true })
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusFound)
	})
	_, err := newTestClient(t, s.config()).Policies(t.Context(), Filter{})
	host, _ := url.Parse(other.URL)
	if err == nil || !strings.Contains(err.Error(), host.Host) || reached || len(other.seen()) != 0 {
		t.Errorf("%v, other host reached: %v", err, len(other.seen()))
	}
}

func FuzzErrorBody(f *testing.F) {
	for _, seed := range []string{"", "text", `{"errors":{"A":["x"]}}`, `{"errors":{"A":"x"},"traceId":[1]}`, `{"errors":[]}`, `{"Title":1}`,
		"<html><title>x</title>", "\xef\xbb\xbf{}", `"x"`, "\x1b]0;x\a", `{"errors":{"":[null,{},"` + testToken + `"]}}`} {
		f.Add(400, seed)
	}
	c := bareClient(f)
	f.Fuzz(func(t *testing.T, status int, body string) {
		e := c.statusError(call{method: "GET"}, &answer{status, http.Header{}, []byte(body)})
		text := e.Error() + e.body + strings.Join(e.Fields, "")
		if strings.Contains(text, testToken) {
			t.Error("the token is in the message")
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("control character in %q", text)
		}
	})
}

// TestWhatWasQueuedWasNotRefused: a service that does not tell the state of a signing request may sign all the same.
func TestWhatWasQueuedWasNotRefused(t *testing.T) {
	for _, c := range []struct {
		e    Error
		want bool
	}{
		{Error{Method: http.MethodPost, Status: 403}, true},
		{Error{Method: http.MethodPost, Status: 429}, true},
		{Error{Method: http.MethodPost, Status: 403, unknown: true}, false},
		{Error{Method: http.MethodPost, Status: 500, unknown: true}, false},
		{Error{Method: http.MethodPost}, false},
		{Error{Method: http.MethodGet, Status: 404}, false},
	} {
		if got := c.e.Refused(); got != c.want {
			t.Errorf("%s %d, unknown %t: refused %t", c.e.Method, c.e.Status, c.e.unknown, got)
		}
	}
}
