//go:build cgo

package p11key

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/miekg/pkcs11"
)

// session is a logged-in session. One operation at a time uses it.
type session struct {
	handle     pkcs11.SessionHandle
	token      token
	epoch      int // of the library
	generation int // of the pool
}

// pool keeps the sessions of one Module for the next operation. All its methods but
// generationNow call the module.
type pool struct {
	module *Module
	// released wakes those who wait because the token has no more sessions.
	released chan struct{}

	mu         sync.Mutex
	idle       []*session
	busy       int
	generation int  // counts reopenings; sessions of an earlier one are not used again
	loggedIn   bool // a session of this generation has logged in
}

func newPool(m *Module) *pool {
	return &pool{module: m, released: make(chan struct{}, places)}
}

func (p *pool) generationNow() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.generation
}

// take gives an idle session, or a new one. Where the token allows no more, it waits until
// one is given back.
func (p *pool) take(ctx context.Context) (*session, error) {
	for {
		if s := p.takeIdle(); s != nil {
			return s, nil
		}
		s, err := p.open()
		if err == nil {
			return s, nil
		}
		if !isCode(err, pkcs11.CKR_SESSION_COUNT) {
			return nil, err
		}
		idle, busy := p.count()
		if idle > 0 || p.module.library.reclaim(p) {
			continue
		}
		if busy == 0 {
			return nil, fmt.Errorf("%w; other programs use the token's sessions", err)
		}
		select {
		case <-p.released:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w: %w", ErrTimeout, err, ctx.Err())
		}
	}
}

func (p *pool) takeIdle() *session {
	epoch := p.module.library.currentEpoch()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		s := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if s.epoch == epoch && s.generation == p.generation {
			p.busy++
			return s
		}
	}
	return nil
}

func (p *pool) count() (idle, busy int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle), p.busy
}

// reclaim closes the idle sessions of all other pools, and reports whether there were any.
func (l *library) reclaim(asking *pool) bool {
	l.mu.Lock()
	pools := maps.Clone(l.pools)
	l.mu.Unlock()
	found := false
	for p := range pools {
		if p != asking && p.closeIdle() {
			found = true
		}
	}
	return found
}

func (p *pool) closeIdle() bool {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, s := range idle {
		p.module.closeSession(s)
	}
	return len(idle) > 0
}

// open makes a session and logs in where that has not been done.
func (p *pool) open() (*session, error) {
	m := p.module
	if err := m.library.initialize(); err != nil { // another user's restart may have failed half way
		return nil, err
	}
	t, err := m.findToken()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	s := &session{token: t, epoch: m.library.currentEpoch(), generation: p.generation}
	p.mu.Unlock()
	s.handle, err = m.library.ctx.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, fmt.Errorf("%s: C_OpenSession: %w", m.options.tokenName(), err)
	}
	if err := p.login(s); err != nil {
		_ = m.library.ctx.CloseSession(s.handle)
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy++
	return s, nil
}

// login asks the session's state first: all sessions of a process share one login. The first
// session after a reopening does not trust the state.
func (p *pool) login(s *session) error {
	p.mu.Lock()
	trust := p.loggedIn && s.generation == p.generation
	p.mu.Unlock()
	if trust {
		info, err := p.module.library.ctx.GetSessionInfo(s.handle)
		if err == nil && (info.State == pkcs11.CKS_RO_USER_FUNCTIONS || info.State == pkcs11.CKS_RW_USER_FUNCTIONS) {
			return nil
		}
	}
	if err := p.module.logIn(s, pkcs11.CKU_USER); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.generation == p.generation {
		p.loggedIn = true
	}
	return nil
}

// give takes a session back. One that failed or was late is closed, and not used again.
func (p *pool) give(s *session, fit bool) {
	m := p.module
	p.mu.Lock()
	p.busy--
	keep := fit && s.generation == p.generation
	if keep {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if !keep {
		m.closeSession(s)
	}
	select {
	case p.released <- struct{}{}:
	default: // as many wake-ups as can be waited for are there already
	}
}

// drop closes the idle sessions, and lets no session of this generation be used again.
func (p *pool) drop(generation int) {
	p.mu.Lock()
	current := generation == p.generation
	if current {
		p.generation++
		p.loggedIn = false
	}
	p.mu.Unlock()
	if current {
		p.closeIdle()
	}
}

// closeSession leaves handles of an earlier C_Initialize alone: the number may be another's.
func (m *Module) closeSession(s *session) {
	if s.epoch == m.library.currentEpoch() {
		_ = m.library.ctx.CloseSession(s.handle)
	}
}
