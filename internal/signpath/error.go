package signpath

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"signkit/internal/config"
	"signkit/internal/key"
)

var (
	// ErrWrongSignature reports that the service answered, but not with a signature by the
	// policy's key over the digest that was sent.
	ErrWrongSignature = key.NewError(key.BadAnswer, "the service's answer does not verify with the policy's public key")
	// ErrTimeout reports that no complete answer came within the time for one attempt, or
	// that a queued signing request was not done within the total time.
	ErrTimeout = key.NewError(key.NotDone, "timed out")
	// ErrUnsupported reports a key type, hash or padding that cannot be asked of the service;
	// no request was made.
	ErrUnsupported = key.NewError(key.Unsupported, "not supported by the signing service")
	// ErrDigestLength reports a digest whose length does not fit its hash; no request was made.
	ErrDigestLength = key.NewError(key.DigestLength, "wrong digest length")
)

// failure is what whoever asked for a signature needs to know of any.
type failure = key.Error

// Error is a failed call of the signing service, after all retries. Its texts are redacted,
// bounded and free of control characters. Those above the seam find a *key.Error in it.
type Error struct {
	failure
	Method string
	Path   string   // path of the URL, without the query
	Status int      // HTTP status; 0 when there was no (complete) answer
	Texts  []string // what the service said: errors, detail, title, else the start of the body
	Fields []string // keys of the errors map (RFC 9457 extension of validation errors), sorted
	Cause  error    // nil when the service answered

	cause      string // text of Cause, redacted
	tried      string // how often and how long; empty after one attempt
	retry      bool   // worth another attempt now
	unknown    bool   // the service may have acted although no answer came, at this attempt or an earlier one
	retryAfter string // the Retry-After header, as received
	body       string // start of the answer, for the log
}

// Error puts the cause first and what to do about it last, in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, e.Path)
	if e.Status != 0 {
		fmt.Fprintf(&b, "the service answered %s", statusText(e.Status))
	}
	if texts := strings.Join(e.Texts, "; "); texts != "" {
		b.WriteString(": " + texts)
	}
	if e.cause != "" {
		if e.Status != 0 {
			b.WriteString(": ")
		}
		b.WriteString(e.cause)
	}
	if e.TraceID != "" {
		fmt.Fprintf(&b, " (traceId %s)", e.TraceID)
	}
	for _, more := range []string{e.tried, e.Hint} {
		if more != "" {
			b.WriteString("; " + more)
		}
	}
	return b.String()
}

// Unwrap gives the kind of failure before the cause, which may be of another: errors.Is finds ErrTimeout,
// context and x509 errors.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{&e.failure}
	}
	return []error{&e.failure, e.Cause}
}

// Refused reports that the service said no to a signature, and has made none: not at an earlier attempt
// that it did not answer, and not of a request that it has queued, whose state could not be read.
func (e *Error) Refused() bool {
	return e.Method == http.MethodPost && e.Status >= 400 && e.Status < 500 && !e.unknown
}

// namesPolicy reports whether the service rejected the policy itself, and not the data.
func (e *Error) namesPolicy() bool {
	return e.Status >= 400 && e.Status < 500 &&
		e.hasField("SigningPolicySlug", "SigningPolicyId", "ProjectSlug")
}

func (e *Error) hasField(names ...string) bool {
	for _, field := range e.Fields {
		for _, name := range names {
			if strings.EqualFold(field, name) {
				return true
			}
		}
	}
	return false
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return fmt.Sprintf("%d %s", status, text)
	}
	return fmt.Sprint(status)
}

// statusError makes the error of an answer that is not 2xx.
func (c *Client) statusError(q call, a *answer) *Error {
	p := readProblem(a.header, a.body)
	e := &Error{
		failure: failure{TraceID: c.clean(p.TraceID, 200)},
		Method:  q.method, Path: c.path(q), Status: a.status,
		Texts: p.texts(c.clean), Fields: p.fields(),
		retryAfter: a.header.Get("Retry-After"),
		body:       c.clean(readable(a.body), maxText),
	}
	for i, field := range e.Fields {
		e.Fields[i] = c.clean(field, 100)
	}
	e.Kind = e.statusKind()
	e.retry = e.Kind.Transient() || e.Kind == key.Broken
	e.unknown = e.Kind.General() == key.Unavailable
	if e.Kind == key.Elsewhere {
		e.Texts = nil
		e.Hint = c.redirectHint(a.header.Get("Location"))
		return e
	}
	e.Hint = c.statusHint(e.Kind, p)
	return e
}

// statusKind is the one place that knows what an HTTP status means.
func (e *Error) statusKind() key.Kind {
	switch {
	case e.Status < 300:
		return key.UnusableAnswer
	case e.Status < 400:
		return key.Elsewhere
	case e.Status == http.StatusUnauthorized:
		return key.BadToken
	case e.Status == http.StatusForbidden:
		return key.Forbidden
	case e.Status == http.StatusTooManyRequests:
		return key.Throttled
	case e.Status == http.StatusNotFound:
		return key.NoSuchAddress
	case e.Status < 500 && e.hasField("SigningPolicySlug", "ProjectSlug"):
		return key.NoSuchPolicy
	case e.Status < 500 && e.hasField("SigningPolicyId"):
		return key.NeedsApproval
	case e.Status < 500:
		return key.BadRequest
	case e.Status >= 502 && e.Status <= 504:
		return key.Unavailable
	}
	return key.Broken
}

func (c *Client) statusHint(kind key.Kind, p problem) string {
	switch {
	case c.cfg.Agent != "":
		return "" // the agent has said it
	case kind == key.BadToken:
		return "check " + c.setting("SIGNPATH_API_TOKEN")
	case kind == key.Forbidden:
		return "check that the user of " + c.setting("SIGNPATH_API_TOKEN") + " is a submitter of this signing policy"
	case p.html:
		return "this is a web page, not the API: check " + c.setting("SIGNPATH_API_URL")
	case kind == key.NoSuchAddress:
		return "check " + c.setting("SIGNPATH_ORGANIZATION_ID") + " and " + c.setting("SIGNPATH_API_URL")
	}
	return ""
}

// connectionError makes the error of an attempt that got no complete answer within limit; sent
// says whether the request was given to a connection.
func (c *Client) connectionError(q call, err error, sent bool, limit time.Duration) *Error {
	e := &Error{failure: failure{Kind: connectionKind(err)}, Method: q.method, Path: c.path(q), Cause: err}
	if isTimeout(err) {
		e.Cause = fmt.Errorf("%w: no answer within %s: %w", ErrTimeout, round(limit), err)
	}
	e.cause = c.clean(e.Cause.Error(), maxText)
	e.unknown, e.retry = sent, e.Kind.Transient()
	e.Hint = c.connectionHint(err, sent)
	return e
}

func (c *Client) connectionHint(err error, sent bool) string {
	var dns *net.DNSError
	var proxy *proxyError
	var local *net.OpError
	switch {
	case c.cfg.Agent != "":
		return "check " + c.setting(config.AgentVariable) + ": an agent ends with the signkit run or signkit agent that made it"
	case errors.Is(err, errNoRoots):
		return ""
	case errors.As(err, &proxy):
		return "check " + c.proxySetting()
	case errors.As(err, &local) && local.Op == "proxyconnect" && isUntrusted(err):
		return "name the proxy's missing root certificate in " + c.setting("SIGNKIT_CA_FILE") + ", or check " + c.proxySetting()
	case errors.As(err, &local) && local.Op == "proxyconnect":
		return "check " + c.proxySetting()
	case isUntrusted(err):
		return "name the missing root certificate in " + c.setting("SIGNKIT_CA_FILE") +
			", or check " + c.setting("SIGNPATH_API_URL")
	case errors.As(err, &x509.HostnameError{}):
		return "check the host name in " + c.setting("SIGNPATH_API_URL")
	case isExpired(err):
		return "check this machine's clock; if it is right, the service at " + c.setting("SIGNPATH_API_URL") + " needs a new certificate"
	case isRemoteAlert(err):
		return "the server refused the TLS connection: check " + c.setting("SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE") +
			" and " + c.setting("SIGNPATH_API_URL")
	case !connectionKind(err).Transient():
		return "check " + c.setting("SIGNPATH_API_URL")
	case errors.As(err, &dns):
		return "check the host name in " + c.setting("SIGNPATH_API_URL") + ", and name resolution here"
	case sent && isTimeout(err):
		return "the time for one attempt is " + c.setting("SIGNPATH_TIMEOUTS_HTTP_REQUEST")
	case sent && c.withoutCertificate.Load():
		return "the server asked for a TLS client certificate and got none: check " + c.setting("SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE")
	case sent:
		return ""
	case c.proxy != nil:
		return "check " + c.proxySetting()
	}
	return "check " + c.setting("SIGNPATH_API_URL") + ", and whether this machine needs a proxy (http_proxy)"
}

// connectionKind is that of an attempt without a complete answer.
func connectionKind(err error) key.Kind {
	var proxy *proxyError
	var record tls.RecordHeaderError
	var large *tooLargeError
	var dns *net.DNSError
	switch {
	case isRemoteAlert(err):
		return key.ClientUntrusted
	case isUnverified(err), errors.Is(err, errNoRoots):
		return key.Untrusted
	case errors.As(err, &large), errors.As(err, &record), errors.Is(err, errForeignAgent):
		return key.NoWay
	case errors.As(err, &proxy) && proxy.status < 500 && proxy.status != http.StatusTooManyRequests:
		return key.NoWay
	case isTimeout(err):
		return key.NoAnswer
	case errors.As(err, &dns):
		return key.UnknownHost
	case errors.Is(err, syscall.ECONNREFUSED):
		return key.NotListening
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return key.Unreachable
	}
	return key.Network
}

func isUnverified(err error) bool {
	var verification *tls.CertificateVerificationError
	var host x509.HostnameError
	return errors.As(err, &verification) || errors.As(err, &host) || isUntrusted(err) || isExpired(err)
}

func isUntrusted(err error) bool {
	var authority x509.UnknownAuthorityError
	return errors.As(err, &authority)
}

func isExpired(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

// isRemoteAlert reports a TLS alert that says no: bad or missing client certificate, no
// common version or cipher. An internal error of the server is not among them.
func isRemoteAlert(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return false
	}
	text := op.Err.Error()
	return !strings.Contains(text, "internal error") && !strings.Contains(text, "user canceled")
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
