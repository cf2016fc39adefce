package p11key

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// loss is what an error has cost.
type loss int

const (
	nothing    loss = iota
	theSession      // a new session and login may do
	theDevice       // the module itself must be started again
)

// outcome is the end of one attempt.
type outcome[T any] struct {
	value T
	err   error
	lost  loss
	epoch int
}

// inSession runs f with a session. Where the session or the device has been lost, it opens
// them again and runs f once more.
func inSession[T any](ctx context.Context, m *Module, f func(*session) (T, error)) (T, error) {
	var none T
	first, err := attempt(ctx, m, f)
	if err != nil {
		return none, err
	}
	if first.lost == nothing {
		return first.value, first.err
	}
	if first.lost == theDevice {
		if err := m.library.restart(ctx, first.epoch); err != nil {
			return none, errors.Join(first.err, fmt.Errorf("starting the module again: %w", err))
		}
	}
	second, err := attempt(ctx, m, f)
	if err != nil {
		return none, errors.Join(first.err, err)
	}
	return second.value, second.err
}

// attempt reports an error only if it gave up waiting.
func attempt[T any](ctx context.Context, m *Module, f func(*session) (T, error)) (outcome[T], error) {
	return call(ctx, m.library, func() (outcome[T], error) {
		o := outcome[T]{epoch: m.library.currentEpoch()}
		s, err := m.sessions.take(ctx)
		if err != nil {
			o.err, o.lost = err, m.assess(err, m.probeSlots)
			return o, nil
		}
		o.value, o.err = f(s)
		o.lost = m.assess(o.err, func() error { return m.probeSession(s) })
		if o.lost != nothing {
			m.sessions.drop(s.generation)
		}
		// After the context's end nobody waits: the session was too slow to be kept.
		m.sessions.give(s, o.err == nil && ctx.Err() == nil)
		return o, nil
	})
}

// assess decides by the error's code, and where that says little, by asking the module.
func (m *Module) assess(err error, probe func() error) loss {
	switch {
	case err == nil, errors.Is(err, ErrTimeout):
		return nothing
	case isCode(err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED):
		return theDevice
	case isCode(err, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_DEVICE_REMOVED,
		pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_SLOT_ID_INVALID):
		return theSession
	case !isCode(err, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED):
		return nothing
	}
	answer := probe()
	switch {
	case answer == nil:
		return nothing // it is there, and has refused this one thing
	case isCode(answer, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_DEVICE_REMOVED):
		return theSession
	}
	return theDevice
}

func (m *Module) probeSession(s *session) error {
	_, err := m.library.ctx.GetSessionInfo(s.handle)
	return err
}

func (m *Module) probeSlots() error {
	_, err := m.library.ctx.GetSlotList(true)
	return err
}

// isCode reports whether err holds one of these return values of PKCS#11.
func isCode(err error, codes ...uint) bool {
	var code pkcs11.Error
	if !errors.As(err, &code) {
		return false
	}
	for _, c := range codes {
		if uint(code) == c {
			return true
		}
	}
	return false
}
