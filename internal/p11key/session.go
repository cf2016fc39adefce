package p11key

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"
)

// session is a logged-in session of a Module. One operation at a time uses it.
type session struct {
	module *Module
	handle pkcs11.SessionHandle
	token  token
	key    pkcs11.ObjectHandle // of the Module's private key; 0: not looked for yet
}

// inSession runs f with a session. Where the session or the module has been lost, it opens
// them again and runs f once more.
func inSession[T any](ctx context.Context, m *Module, f func(*session) (T, error)) (T, error) {
	value, err := attempt(ctx, m, false, f)
	l, isLost := errors.AsType[*lost](err)
	if !isLost {
		return value, err
	}
	if l.all {
		if err := m.library.restart(ctx, l.start); err != nil {
			return value, errors.Join(l, fmt.Errorf("starting the module again: %w", err))
		}
	}
	return attempt(ctx, m, true, f)
}

func attempt[T any](ctx context.Context, m *Module, again bool, f func(*session) (T, error)) (T, error) {
	l := m.library
	return call(ctx, l, l.place(), func() (value T, err error) {
		start := l.starts.Load()
		s, err := m.take(ctx, again)
		if err != nil {
			return value, assess(err, start, func() error { _, err := l.ctx.GetSlotList(true); return err })
		}
		value, err = f(s)
		err = assess(err, start, func() error { _, err := l.ctx.GetSessionInfo(s.handle); return err })
		// After the context's end nobody waits: the session was too slow to be kept.
		l.give(s, err == nil && ctx.Err() == nil)
		return value, err
	})
}

// lost is the error of a call that found its session lost.
type lost struct {
	error
	all   bool  // sessions: the module itself must be started again
	start int64 // the one in which that happened
}

func (l *lost) Unwrap() error { return l.error }

// assess tells by an error's code whether the session is lost, and where that says little, by
// what the module answers to a probe.
func assess(err error, start int64, probe func() error) error {
	if isCode(err, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED) {
		switch answer := probe(); {
		case answer == nil: // it is there, and has refused this one thing
			return err
		case !isCode(answer, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_DEVICE_REMOVED):
			return &lost{err, true, start}
		}
		return &lost{err, false, start}
	}
	switch {
	case isCode(err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED):
		return &lost{err, true, start}
	case isCode(err, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_DEVICE_REMOVED,
		pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_SLOT_ID_INVALID):
		return &lost{err, false, start}
	}
	return err
}

// take gives an idle session of the Module, or else, and always when the last one was lost, a
// new one. Where the token allows no more, it closes those of other keys that are idle, and
// otherwise waits until one is returned.
func (m *Module) take(ctx context.Context, again bool) (*session, error) {
	l := m.library
	for {
		if again {
			l.closeIdle(m) // lost, too
		} else if s := l.takeIdle(m); s != nil {
			return s, nil
		}
		l.mu.Lock()
		returned := l.returned
		l.mu.Unlock()
		s, err := m.open()
		if !isCode(err, pkcs11.CKR_SESSION_COUNT) {
			return s, err
		}
		if l.closeIdle(nil) {
			continue
		}
		l.mu.Lock()
		wait := l.busy > 0 || returned != l.returned
		l.mu.Unlock()
		if !wait {
			return nil, fmt.Errorf("%w; other programs use the token's sessions", err)
		}
		select {
		case <-returned:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w: %w", ErrTimeout, err, ctx.Err())
		}
	}
}

// open makes a session, and logs in.
func (m *Module) open() (*session, error) {
	l := m.library
	if err := l.begin(); err != nil { // a restart may have failed half way
		return nil, err
	}
	t, err := m.findToken()
	if err != nil {
		return nil, err
	}
	l.setup.Lock()
	defer l.setup.Unlock()
	handle, err := l.ctx.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, fmt.Errorf("%s: C_OpenSession: %w", m.options.tokenName(), err)
	}
	s := &session{module: m, handle: handle, token: t}
	if err := m.logIn(s, pkcs11.CKU_USER); err != nil {
		_ = l.ctx.CloseSession(handle)
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy++
	return s, nil
}

// takeIdle gives an idle session of the Module, or, for nil, of any.
func (l *library) takeIdle(m *Module) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.idle {
		if m == nil || s.module == m {
			l.idle = slices.Delete(l.idle, i, i+1)
			l.busy++
			return s
		}
	}
	return nil
}

// give returns a session. One that failed or was late is closed, and not used again.
func (l *library) give(s *session, fit bool) {
	if !fit {
		_ = l.ctx.CloseSession(s.handle)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if fit {
		l.idle = append(l.idle, s)
	}
	l.busy--
	close(l.returned)
	l.returned = make(chan struct{})
}

// closeIdle closes the idle sessions of the Module, or, for nil, of all, and reports whether there were any.
func (l *library) closeIdle(m *Module) bool {
	found := false
	for s := l.takeIdle(m); s != nil; s = l.takeIdle(m) {
		l.give(s, false)
		found = true
	}
	return found
}
