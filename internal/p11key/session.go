package p11key

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/miekg/pkcs11"
)

// session is a logged-in session. One operation at a time uses it.
type session struct {
	handle     pkcs11.SessionHandle
	token      token
	epoch      int // of the library
	generation int // of the pool
	login      int // of the library
}

// pool keeps the sessions of one Module for the next operation. Most of its methods call the
// module.
type pool struct {
	module *Module

	mu         sync.Mutex // not held during a call of the module
	idle       []*session
	busy       int  // in use, or being opened
	generation int  // counts reopenings; sessions of an earlier one are not used again
	loggedIn   bool // a session of this generation has logged in
}

func (p *pool) generationNow() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.generation
}

// take gives an idle session, or a new one. Where the token allows no more, it waits until
// one is given back, to any pool of the module.
func (p *pool) take(ctx context.Context) (*session, error) {
	l := p.module.library
	for last := false; ; {
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
		if l.reclaim() {
			continue
		}
		if !l.inUse() {
			if last {
				return nil, fmt.Errorf("%w; other programs use the token's sessions", err)
			}
			last = true // the last one may have been closed just now
			continue
		}
		select {
		case <-l.released:
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

// open makes a session and logs in where that has not been done.
func (p *pool) open() (*session, error) {
	p.mu.Lock()
	p.busy++
	generation := p.generation
	p.mu.Unlock()
	s, err := p.openSession(generation)
	if err != nil {
		p.ended()
		return nil, err
	}
	return s, nil
}

func (p *pool) openSession(generation int) (*session, error) {
	m := p.module
	if err := m.library.initialize(); err != nil { // another user's restart may have failed half way
		return nil, err
	}
	t, err := m.findToken()
	if err != nil {
		return nil, err
	}
	s := &session{token: t, epoch: m.library.currentEpoch(), generation: generation}
	s.handle, err = m.library.ctx.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, fmt.Errorf("%s: C_OpenSession: %w", m.options.tokenName(), err)
	}
	if err := p.login(s); err != nil {
		_ = m.library.ctx.CloseSession(s.handle)
		return nil, err
	}
	return s, nil
}

// login asks the session's state first: all sessions of a process share one login. The first
// session after a reopening does not trust the state.
func (p *pool) login(s *session) error {
	p.mu.Lock()
	trust := p.loggedIn && s.generation == p.generation
	p.mu.Unlock()
	if trust && p.joins(s) {
		return nil
	}
	if trust {
		// The last session was closed: that has logged out, and made the handles of keys invalid.
		p.drop(s.generation)
		s.generation = p.generationNow()
	}
	if err := p.module.logIn(s, pkcs11.CKU_USER); err != nil {
		return err
	}
	s.login = p.module.library.currentLogin()
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.generation == p.generation {
		p.loggedIn = true
	}
	return nil
}

// joins reports whether the session is in a login that has been made already, by this pool or another: the last session of all may
// have been closed since, and another pool have logged in anew. No login ends while this session is open.
func (p *pool) joins(s *session) bool {
	l := p.module.library
	l.login.Lock()
	defer l.login.Unlock()
	s.login = l.currentLogin()
	return p.isUser(s)
}

func (p *pool) isUser(s *session) bool {
	if !s.token.has(pkcs11.CKF_LOGIN_REQUIRED) && p.module.options.PINFile == "" {
		return true // no login has been made, and none is wanted
	}
	info, err := p.module.library.ctx.GetSessionInfo(s.handle)
	return err == nil && (info.State == pkcs11.CKS_RO_USER_FUNCTIONS || info.State == pkcs11.CKS_RW_USER_FUNCTIONS)
}

// give takes a session back. One that failed or was late is closed, and not used again.
func (p *pool) give(s *session, fit bool) {
	p.mu.Lock()
	keep := fit && s.generation == p.generation
	if keep {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if !keep {
		p.module.closeSession(s)
	}
	p.ended()
}

// ended counts a session that is not busy any more, and wakes who waits for that.
func (p *pool) ended() {
	p.mu.Lock()
	p.busy--
	p.mu.Unlock()
	select {
	case p.module.library.released <- struct{}{}:
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

// closeIdle reports whether there were any.
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

// closeSession leaves handles of an earlier C_Initialize alone: the number may be another's.
func (m *Module) closeSession(s *session) {
	if s.epoch == m.library.currentEpoch() {
		_ = m.library.ctx.CloseSession(s.handle)
	}
}

// reclaim closes the idle sessions of all pools, and reports whether there were any.
func (l *library) reclaim() bool {
	found := false
	for _, p := range l.allPools() {
		found = p.closeIdle() || found
	}
	return found
}

// inUse reports whether any pool has a session that will be given back.
func (l *library) inUse() bool {
	for _, p := range l.allPools() {
		p.mu.Lock()
		busy := p.busy
		p.mu.Unlock()
		if busy > 0 {
			return true
		}
	}
	return false
}

func (l *library) allPools() []*pool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.pools))
}
