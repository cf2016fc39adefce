package card

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"

	"signkit/gpgagent/assuan"
	"signkit/internal/signpath"
)

// openError is that of a key that cannot be used at all: unless the error knows
// better, or time was up, the settings are to blame.
func openError(err error) error {
	_, coded := errors.AsType[*assuan.Error](err)
	if coded || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &assuan.Error{Code: assuan.Configuration, Err: err}
}

// codeOf chooses the code whose text, all that gpg shows, comes closest to what
// went wrong. It never chooses one that makes gpg-agent ask for a card.
func codeOf(err error) assuan.Code {
	if e, ok := errors.AsType[*assuan.Error](err); ok {
		return e.Code
	}
	switch {
	case errors.Is(err, context.Canceled):
		return assuan.Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, signpath.ErrTimeout):
		return assuan.Timeout
	case errors.Is(err, signpath.ErrDenied):
		return assuan.NotConfirmed
	case errors.Is(err, signpath.ErrCanceled):
		return assuan.Canceled
	case errors.Is(err, signpath.ErrWrongSignature):
		return assuan.BadSignature
	case errors.Is(err, signpath.ErrUnsupported):
		return assuan.DigestAlgorithm
	case errors.Is(err, signpath.ErrDigestLength):
		return assuan.InvalidData
	}
	e, ok := errors.AsType[*signpath.Error](err)
	switch {
	case !ok:
		return assuan.General
	case e.Status == 0:
		return connectionCode(err)
	}
	return statusCode(e)
}

// connectionCode is for calls without an answer.
func connectionCode(err error) assuan.Code {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && !dns.IsTimeout {
		return assuan.UnknownHost
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return assuan.Configuration // roots that are missing, a wrong name in the URL
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return assuan.Timeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return assuan.ConnectionRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return assuan.Unreachable
	}
	return assuan.Network
}

// statusCode is for answers that are not a signature (signpath.Error.Status).
func statusCode(e *signpath.Error) assuan.Code {
	switch e.Status {
	case http.StatusUnauthorized:
		return assuan.BadAuth
	case http.StatusForbidden:
		return assuan.Forbidden
	case http.StatusNotFound:
		return assuan.Configuration // of the URL or the organization
	case http.StatusTooManyRequests:
		return assuan.TryLater
	case http.StatusBadRequest:
		return badRequestCode(e.Fields)
	}
	return assuan.ServerFailed
}

// badRequestCode knows the fields that the service complains of.
func badRequestCode(fields []string) assuan.Code {
	switch {
	case slices.Contains(fields, "SigningPolicySlug"), slices.Contains(fields, "ProjectSlug"):
		return assuan.NoSecretKey // there is no such project or policy
	case slices.Contains(fields, "SigningPolicyId"):
		return assuan.Forbidden // hashes cannot wait for the approval that the policy asks for
	}
	return assuan.ServerFailed
}
