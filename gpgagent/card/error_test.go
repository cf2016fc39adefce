package card

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"signkit/gpgagent/assuan"
	"signkit/internal/signpath"
)

func TestCodes(t *testing.T) {
	status := func(status int, fields ...string) error {
		return fmt.Errorf("signing: %w", &signpath.Error{Status: status, Fields: fields})
	}
	connection := func(cause error) error {
		return fmt.Errorf("signing: %w", &signpath.Error{Cause: cause})
	}
	dial := func(cause error) error {
		return connection(&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", cause)})
	}
	unknownRoot := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	for what, test := range map[string]struct {
		err  error
		want assuan.Code
	}{
		"down":                   {status(503), assuan.ServerFailed},
		"broken":                 {status(500), assuan.ServerFailed},
		"overloaded":             {status(429), assuan.TryLater},
		"token unknown":          {status(401), assuan.BadAuth},
		"may not":                {status(403), assuan.Forbidden},
		"no such organization":   {status(404), assuan.Configuration},
		"no such policy":         {status(400, "SigningPolicySlug"), assuan.NoSecretKey},
		"no such project":        {status(400, "Hash", "ProjectSlug"), assuan.NoSecretKey},
		"approval needed":        {status(400, "SigningPolicyId"), assuan.Forbidden},
		"rejected otherwise":     {status(400, ""), assuan.ServerFailed},
		"redirect":               {status(302), assuan.ServerFailed},
		"refused":                {dial(syscall.ECONNREFUSED), assuan.ConnectionRefused},
		"network unreachable":    {dial(syscall.ENETUNREACH), assuan.Unreachable},
		"host unreachable":       {dial(syscall.EHOSTUNREACH), assuan.Unreachable},
		"reset":                  {dial(syscall.ECONNRESET), assuan.Network},
		"ended early":            {connection(io.ErrUnexpectedEOF), assuan.Network},
		"no cause":               {connection(nil), assuan.Network},
		"no such host":           {connection(&net.DNSError{IsNotFound: true}), assuan.UnknownHost},
		"name server silent":     {connection(&net.DNSError{IsTimeout: true}), assuan.Network},
		"attempt timed out":      {connection(signpath.ErrTimeout), assuan.Timeout},
		"connection timed out":   {connection(os.ErrDeadlineExceeded), assuan.Timeout},
		"unknown root":           {connection(unknownRoot), assuan.Configuration},
		"own deadline":           {context.DeadlineExceeded, assuan.Timeout},
		"client left":            {fmt.Errorf("x: %w", context.Canceled), assuan.Canceled},
		"denied":                 {fmt.Errorf("x: %w", signpath.ErrDenied), assuan.NotConfirmed},
		"canceled by a person":   {fmt.Errorf("x: %w", signpath.ErrCanceled), assuan.Canceled},
		"wrong signature":        {fmt.Errorf("x: %w", signpath.ErrWrongSignature), assuan.BadSignature},
		"hash not supported":     {fmt.Errorf("x: %w", signpath.ErrUnsupported), assuan.DigestAlgorithm},
		"digest of wrong length": {fmt.Errorf("x: %w", signpath.ErrDigestLength), assuan.InvalidData},
		"known by itself":        {fmt.Errorf("x: %w", assuan.Errorf(assuan.WrongKeyUsage, "y")), assuan.WrongKeyUsage},
		"anything else":          {errors.New("x"), assuan.General},
	} {
		if got := codeOf(test.err); got != test.want {
			t.Errorf("%s: %d %s, want %d %s", what, got, got, test.want, test.want)
		}
	}
}
