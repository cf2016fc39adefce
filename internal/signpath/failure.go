package signpath

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"time"

	"signkit/internal/caller"
	"signkit/internal/event"
)

// Fail says in an event why there is no signature.
func Fail(e *event.Event, err error) {
	e.Error, e.Kind = err.Error(), failureKind(err)
	if service, ok := asError(err); ok {
		e.Hint = service.Hint
	}
}

func failureKind(err error) event.Kind {
	switch {
	case errors.Is(err, context.Canceled):
		return event.Canceled
	case errors.Is(err, ErrDenied), errors.Is(err, ErrCanceled):
		return event.Refused
	case errors.Is(err, ErrWrongSignature):
		return event.BadAnswer
	case errors.Is(err, ErrUnsupported), errors.Is(err, ErrDigestLength):
		return event.BadRequest
	}
	e, ok := asError(err)
	switch {
	case !ok && (errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded)):
		return event.Unavailable
	case !ok:
		return event.Other
	case e.Status == 0:
		return connectionKind(err)
	case e.Status < 300:
		return event.BadAnswer
	case e.Status < 400:
		return event.Settings
	case e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden:
		return event.Forbidden
	case e.Status == http.StatusTooManyRequests:
		return event.Throttled
	case e.Status == http.StatusNotFound, e.namesPolicy():
		return event.NoSuchPolicy
	case e.Status < 500:
		return event.BadRequest
	}
	return event.Unavailable
}

func connectionKind(err error) event.Kind {
	var host x509.HostnameError
	if isUntrusted(err) || isExpired(err) || isRemoteAlert(err) || errors.As(err, &host) || errors.Is(err, errNoRoots) {
		return event.Untrusted
	}
	return event.Network
}

// recorded records a signature, or a failure, where that is wanted. The error then says that it is recorded.
func (k *Key) recorded(ctx context.Context, digest []byte, began time.Time, signed *Signed, err error) error {
	if k.client.record == nil {
		return err
	}
	e := event.Begin(k.client.clean(k.ID(), 200), digest, began)
	e.Seconds = k.client.now().Sub(began).Seconds()
	e.Caller = event.CallerOf(k.client.asking(ctx))
	if signed != nil {
		e.Algorithm, e.RequestID, e.WebLink = signed.Algorithm, signed.RequestID, signed.WebLink
	}
	if err != nil {
		Fail(&e, err)
	}
	k.client.record(e)
	return event.Told(err)
}

// Caller is the process that a context names, for an event; nil where it names none.
func Caller(ctx context.Context) *event.Caller {
	process := caller.FromContext(ctx)
	if process == nil {
		return nil
	}
	p := process()
	return event.CallerOf(&p)
}
