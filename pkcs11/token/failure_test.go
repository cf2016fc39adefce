package token

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"signkit/internal/key"
	"signkit/pkcs11/wire"
)

// TestFailedSignature: what the tool and the person see of each failure. The
// errors come wrapped, as the client wraps them.
func TestFailedSignature(t *testing.T) {
	failed := func(kind key.Kind) error { return key.NewError(kind, "the service's text (traceId trace-1)") }
	const text = "the service's text"
	for name, test := range map[string]struct {
		err   error
		want  Error
		shown string // in one error record
	}{
		"bad request": {failed(key.BadRequest), ckrArgumentsBad, text}, "bad token": {failed(key.BadToken), ckrArgumentsBad, text},
		"forbidden": {failed(key.Forbidden), ckrArgumentsBad, "trace-1"}, "no such policy": {failed(key.NoSuchPolicy), ckrArgumentsBad, text},
		"no such address": {failed(key.NoSuchAddress), ckrArgumentsBad, text}, "needs approval": {failed(key.NeedsApproval), ckrArgumentsBad, text},
		"broken": {failed(key.Broken), ckrDeviceError, text}, "elsewhere": {failed(key.Elsewhere), ckrDeviceError, text},
		"throttled":       {failed(key.Throttled), ckrFunctionFailed, text},
		"unavailable":     {failed(key.Unavailable), ckrFunctionFailed, text},
		"not listening":   {failed(key.NotListening), ckrFunctionFailed, text},
		"no way":          {failed(key.NoWay), ckrGeneralError, text},
		"no answer":       {failed(key.NoAnswer), ckrFunctionFailed, text},
		"time-out":        {fmt.Errorf("queued: %w", failed(key.NotDone)), ckrFunctionFailed, text},
		"untrusted":       {failed(key.Untrusted), ckrGeneralError, text},
		"wrong signature": {failed(key.BadAnswer), ckrDeviceError, text},
		"unusable answer": {failed(key.UnusableAnswer), ckrDeviceError, text},
		"digest length":   {failed(key.DigestLength), ckrDataLenRange, text},
		"not supported":   {failed(key.Unsupported), ckrGeneralError, text},
		"denied":          {failed(key.Refused), ckrGeneralError, text},
		"anything else":   {errors.New("something else"), ckrGeneralError, "something else"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			log := b.record(t)
			session := b.open(t, "CONFIG").handle
			key := b.privateKey(t, "demo/p256")
			b.key("demo/p256").fail = fmt.Errorf("signing with demo/p256: %w", test.err)
			b.expect(t, ckrOK, wire.SignInit, session, key, number(ckmECDSASHA256))
			res := b.expect(t, test.want, wire.Sign, session, 0, []byte(message))
			if len(res.payload) != 0 {
				t.Errorf("%d bytes of a signature", len(res.payload))
			}
			if log.errors() != 1 || !strings.Contains(log.String(), test.shown) || !strings.Contains(log.String(), test.want.Error()) {
				t.Errorf("not one record with %q and %v:\n%s", test.shown, test.want, log)
			}
			b.expect(t, ckrOperationNotInitialized, wire.Sign, session, 0, []byte(message))
			b.key("demo/p256").fail = nil
			b.expect(t, ckrOK, wire.SignInit, session, b.privateKey(t, "demo/p256"), number(ckmECDSASHA256))
			b.expect(t, ckrOK, wire.Sign, session, 0, []byte(message))
		})
	}
}

// TestCancelledSignature: the caller gave up, which nobody needs to be told.
func TestCancelledSignature(t *testing.T) {
	b := newBench(t)
	log := b.record(t)
	session := b.open(t, "CONFIG").handle
	release := b.key("demo/p256").hold()
	defer release()
	b.expect(t, ckrOK, wire.SignInit, session, b.privateKey(t, "demo/p256"), number(ckmECDSASHA256))
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan Error, 1)
	go func() {
		rv, _ := b.handle(&request{Request: wire.Request{Call: wire.Sign, Handle: session}, ctx: ctx, payload: wire.NewReader(nil), socket: b})
		result <- rv
	}()
	until(t, "the key is asked", func() bool { return b.key("demo/p256").signatures() == 1 })
	cancel()
	if rv := await(t, result); rv != ckrFunctionCanceled || log.errors() != 0 {
		t.Errorf("%v with %d errors:\n%s", rv, log.errors(), log)
	}
	b.expect(t, ckrOK, wire.SignInit, session, b.privateKey(t, "demo/p256"), number(ckmECDSASHA256))
}

// TestRefusedTokenAtLogin is a wrong PIN; every other failure keeps its own value.
func TestRefusedTokenAtLogin(t *testing.T) {
	for kind, want := range map[key.Kind]Error{key.BadToken: ckrPINIncorrect, key.Forbidden: ckrArgumentsBad, key.Broken: ckrDeviceError, key.NoWay: ckrGeneralError} {
		b := newBench(t, "SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=rsa")
		log := b.record(t)
		session := b.open(t, "").handle
		b.source.fail = fmt.Errorf("reading signing policies: %w", &key.Error{Kind: kind, Hint: "check SIGNPATH_API_TOKEN", Err: errors.New("x; check SIGNPATH_API_TOKEN")})
		b.expect(t, want, wire.Login, session, ckuUser, []byte("CONFIG"))
		if log.errors() != 1 || !strings.Contains(log.String(), "check SIGNPATH_API_TOKEN") {
			t.Errorf("%s: not one record with the hint:\n%s", kind, log)
		}
		if len(b.events) != 1 || b.events[0].Hint != "check SIGNPATH_API_TOKEN" || b.events[0].Kind == "" {
			t.Errorf("%s: recorded %+v", kind, b.events)
		}
		b.source.fail = nil
		b.expect(t, ckrOK, wire.Login, session, ckuUser, []byte("CONFIG"))
	}
}

// TestReturnValuesHaveNames: a record shows them.
func TestReturnValuesHaveNames(t *testing.T) {
	if got := ckrPINIncorrect.Error(); got != "CKR_PIN_INCORRECT" {
		t.Error(got)
	}
	if got := Error(0x80000001).Error(); got != "CKR 0x80000001" {
		t.Error(got)
	}
	for err, want := range map[error]Error{nil: ckrOK, ckrDataInvalid: ckrDataInvalid, errors.New("x"): ckrGeneralError, fmt.Errorf("x: %w", ckrHostMemory): ckrHostMemory} {
		if got := returnValue(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
