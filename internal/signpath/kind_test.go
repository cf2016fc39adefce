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
	"os"
	"syscall"
	"testing"

	"signkit/internal/key"
)

// TestKindsOfAnswers: what every door makes of an HTTP status begins here.
func TestKindsOfAnswers(t *testing.T) {
	c := newTestClient(t, newService(t, false).config())
	const fields = `{"errors":{"%s":["x"]}}`
	for _, test := range []struct {
		status int
		body   string
		want   key.Kind
	}{
		{302, "", key.Elsewhere},
		{400, "", key.BadRequest}, {409, "", key.BadRequest}, {499, "", key.BadRequest},
		{400, fmt.Sprintf(fields, "SigningPolicySlug"), key.NoSuchPolicy}, {400, fmt.Sprintf(fields, "projectSlug"), key.NoSuchPolicy},
		{400, fmt.Sprintf(fields, "SigningPolicyId"), key.NeedsApproval}, {400, fmt.Sprintf(fields, "Hash"), key.BadRequest},
		{401, "", key.BadToken}, {403, "", key.Forbidden}, {404, "", key.NoSuchAddress}, {429, "", key.Throttled},
		{500, "", key.Broken}, {501, "", key.Broken}, {502, "", key.Unavailable}, {503, "", key.Unavailable}, {504, "", key.Unavailable}, {505, "", key.Broken},
	} {
		err := c.statusError(call{method: "POST", path: "x"}, &answer{status: test.status, header: http.Header{}, body: []byte(test.body)})
		if got := key.KindOf(fmt.Errorf("signing: %w", err)); got != test.want {
			t.Errorf("%d %s: %s, want %s", test.status, test.body, got, test.want)
		}
		wantRetry := test.want.Transient() || test.want == key.Broken
		if err.retry != wantRetry || err.unknown != (test.status >= 500) {
			t.Errorf("%d: retry %v, unknown %v", test.status, err.retry, err.unknown)
		}
	}
}

func TestKindsOfConnections(t *testing.T) {
	c := newTestClient(t, newService(t, false).config())
	dial := func(cause error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: cause} }
	system := func(cause error) error { return dial(os.NewSyscallError("connect", cause)) }
	for what, test := range map[string]struct {
		err  error
		want key.Kind
	}{
		"refused":              {system(syscall.ECONNREFUSED), key.NotListening},
		"network unreachable":  {system(syscall.ENETUNREACH), key.Unreachable},
		"host unreachable":     {system(syscall.EHOSTUNREACH), key.Unreachable},
		"reset":                {system(syscall.ECONNRESET), key.Network},
		"ended early":          {io.ErrUnexpectedEOF, key.Network},
		"no such host":         {dial(&net.DNSError{IsNotFound: true}), key.UnknownHost},
		"name server silent":   {dial(&net.DNSError{IsTimeout: true}), key.NoAnswer},
		"own deadline":         {context.DeadlineExceeded, key.NoAnswer},
		"connection timed out": {os.ErrDeadlineExceeded, key.NoAnswer},
		"unknown root":         {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, key.Untrusted},
		"expired":              {&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, key.Untrusted},
		"another name":         {&tls.CertificateVerificationError{Err: x509.HostnameError{}}, key.Untrusted},
		"no roots":             {errNoRoots, key.Untrusted},
		"client refused":       {&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, key.ClientUntrusted},
		"no TLS":               {tls.RecordHeaderError{}, key.NoWay},
		"too large":            {&tooLargeError{5}, key.NoWay},
		"foreign agent":        {errForeignAgent, key.NoWay},
		"proxy refuses":        {&proxyError{"proxy:3128", 407}, key.NoWay},
		"proxy overloaded":     {&proxyError{"proxy:3128", 503}, key.Network},
		"caller left":          {context.Canceled, key.Canceled},
	} {
		err := c.connectionError(call{method: "POST", path: "x"}, test.err, true, 0)
		if got := key.KindOf(fmt.Errorf("signing: %w", err)); got != test.want {
			t.Errorf("%s: %s, want %s", what, got, test.want)
		}
	}
}
