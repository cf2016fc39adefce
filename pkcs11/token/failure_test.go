package token

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"signkit/internal/signpath"
	"signkit/pkcs11/wire"
)

// TestFailedSignature: what the tool and the person see of each failure. The
// errors come wrapped, as the client wraps them.
func TestFailedSignature(t *testing.T) {
	answered := func(status int) error {
		return &signpath.Error{Method: "POST", Path: "/x", Status: status, Texts: []string{"the service's text"}, TraceID: "trace-1"}
	}
	const text = "the service's text"
	for name, test := range map[string]struct {
		err   error
		want  Error
		shown string // in one error record
	}{
		"400": {answered(400), ckrArgumentsBad, text}, "401": {answered(401), ckrArgumentsBad, text}, "403": {answered(403), ckrArgumentsBad, "trace-1"},
		"404": {answered(404), ckrArgumentsBad, text}, "499": {answered(499), ckrArgumentsBad, text},
		"500": {answered(500), ckrDeviceError, text}, "501": {answered(501), ckrDeviceError, text}, "302": {answered(302), ckrDeviceError, text},
		"429":             {&signpath.Error{Status: 429, Transient: true}, ckrFunctionFailed, ""},
		"502":             {&signpath.Error{Status: 502, Transient: true}, ckrFunctionFailed, ""},
		"no answer":       {&signpath.Error{Transient: true, Cause: errors.New("connection refused")}, ckrFunctionFailed, ""},
		"time-out":        {fmt.Errorf("queued: %w", signpath.ErrTimeout), ckrFunctionFailed, "timed out"},
		"untrusted":       {&signpath.Error{Cause: errors.New("unknown authority")}, ckrGeneralError, ""},
		"wrong signature": {signpath.ErrWrongSignature, ckrDeviceError, "does not verify"},
		"digest length":   {signpath.ErrDigestLength, ckrDataLenRange, "wrong digest length"},
		"not supported":   {signpath.ErrUnsupported, ckrGeneralError, "not supported"},
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
	for status, want := range map[int]Error{401: ckrPINIncorrect, 403: ckrArgumentsBad, 500: ckrDeviceError, 0: ckrGeneralError} {
		b := newBench(t, "SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=rsa")
		log := b.record(t)
		session := b.open(t, "").handle
		b.source.fail = fmt.Errorf("reading signing policies: %w", &signpath.Error{Status: status, Hint: "check SIGNPATH_API_TOKEN"})
		b.expect(t, want, wire.Login, session, ckuUser, []byte("CONFIG"))
		if log.errors() != 1 || !strings.Contains(log.String(), "check SIGNPATH_API_TOKEN") {
			t.Errorf("%d: not one record with the hint:\n%s", status, log)
		}
		if len(b.events) != 1 || b.events[0].Hint != "check SIGNPATH_API_TOKEN" || b.events[0].Kind == "" {
			t.Errorf("%d: recorded %+v", status, b.events)
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
