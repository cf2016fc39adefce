package token

import (
	"slices"
	"sync"
)

// session is one PKCS#11 session (section 5.6): at most one search and one
// sign operation.
type session struct {
	handle    uint64
	readWrite bool

	mu        sync.Mutex
	closed    bool
	searching bool
	found     []uint64 // what C_FindObjects has still to return
	operation *operation
}

func checkSlot(slot uint64) error {
	if slot != slotID {
		return ckrSlotIDInvalid
	}
	return nil
}

// openSession is C_OpenSession.
func (t *Token) openSession(slot, flags uint64) (uint64, error) {
	if err := checkSlot(slot); err != nil {
		return 0, err
	}
	if flags&ckfSerialSession == 0 {
		return 0, ckrSessionParallelUnsupported
	}
	readWrite := flags&ckfRWSession != 0
	if readWrite && !t.cfg.AllowReadWriteSessions {
		return 0, failf(ckrTokenWriteProtected, "the tool opens a read/write session and the token is read-only; set SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true for tools that need one")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &session{handle: t.newHandle(), readWrite: readWrite}
	t.sessions[s.handle] = s
	return s.handle, nil
}

func (t *Token) session(handle uint64) (*session, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sessions[handle]; s != nil {
		return s, nil
	}
	return nil, ckrSessionHandleInvalid
}

// closeSession ends the session and what it does; the last one ends the login.
func (t *Token) closeSession(handle uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[handle]
	if s == nil {
		return ckrSessionHandleInvalid
	}
	t.remove(s)
	return nil
}

func (t *Token) closeAllSessions(slot uint64) error {
	if err := checkSlot(slot); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sessions {
		t.remove(s)
	}
	return nil
}

// remove needs the lock.
func (t *Token) remove(s *session) {
	delete(t.sessions, s.handle)
	s.endOperation(ckrSessionClosed)
	if len(t.sessions) == 0 && t.login != nil {
		t.endLogin()
	}
}

// readOnlySessionExists needs the lock.
func (t *Token) readOnlySessionExists() bool {
	for _, s := range t.sessions {
		if !s.readWrite {
			return true
		}
	}
	return false
}

// sessionInfo is CK_SESSION_INFO.
func (t *Token) sessionInfo(s *session) []byte {
	state, flags := uint64(cksROPublic), uint64(ckfSerialSession)
	if s.readWrite {
		state, flags = cksRWPublic, flags|ckfRWSession
	}
	if t.loggedIn() {
		state++ // each user state follows its public one
	}
	return appendNumbers(nil, slotID, state, flags, 0)
}

// beginSearch, takeFound and endSearch are the three calls of a search.
func (s *session) beginSearch(found []uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.searching {
		return ckrOperationActive
	}
	s.searching, s.found = true, found
	return nil
}

func (s *session) isSearching() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.searching
}

func (s *session) takeFound(most uint64) ([]uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.searching {
		return nil, ckrOperationNotInitialized
	}
	n := min(most, uint64(len(s.found)))
	taken := slices.Clone(s.found[:n])
	s.found = s.found[n:]
	return taken, nil
}

func (s *session) endSearch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.searching {
		return ckrOperationNotInitialized
	}
	s.searching, s.found = false, nil
	return nil
}
