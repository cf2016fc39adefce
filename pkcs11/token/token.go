// Package token is the meaning behind the PKCS#11 module: one slot with one
// token, whose objects are the keys and certificates of signing policies
// (PKCS #11 v2.40). It is pure Go and runs in the token process, never in the
// host; package wire brings the calls.
//
// No lock is held during a request to the service.
package token

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/key"
)

// slotID is the only slot. Documented tool configurations name slot 1.
const slotID = 1

// Options are what a Token is made of.
type Options struct {
	Config      *config.Config
	ConfigError error // kept until a call needs the settings; then it is that call's error
	Logger      *slog.Logger
	// Connect makes the source of keys for one set of credentials. It makes no request.
	Connect func(*config.Config) (Source, error)
	// SettingsOnly refuses PINs with credentials: those of the settings are all that there is.
	SettingsOnly bool
	// Record gets what keeps a tool from signing, unless it comes from a key, whose source records that; nil: nobody does.
	Record event.Recorder
}

// Token is the state of one host process: login, sessions and objects.
type Token struct {
	cfg       *config.Config
	configErr error
	log       *slog.Logger
	connect   func(*config.Config) (Source, error)
	only      bool // Options.SettingsOnly
	record    event.Recorder
	epoch     uint64 // before the first handle, so that handles of an earlier start are invalid
	handles   atomic.Uint64

	mu       sync.Mutex
	sessions map[uint64]*session
	login    *keyring // nil: nobody is logged in
	rings    map[credentials]*keyring
	named    key.ID // the policy that the last search named

	told sync.Map // ids of keys whose certificate ends soon, and that is recorded
}

type credentials struct{ organization, token string }

// New makes a token. Nothing is asked of the service before a call needs it.
func New(o Options) *Token {
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		panic(err) // documented never to happen
	}
	return &Token{
		cfg: o.Config, configErr: o.ConfigError, log: o.Logger, connect: o.Connect, only: o.SettingsOnly, record: o.Record,
		epoch:    uint64(binary.NativeEndian.Uint32(random[:])&0x3FFFFFFF) << 32,
		sessions: map[uint64]*session{}, rings: map[credentials]*keyring{},
	}
}

// Prepare makes the source of the settings' credentials, if there are any, so that it can get
// ready while the host is busy. Nothing is asked of the service.
func (t *Token) Prepare() {
	if t.configErr == nil && t.cfg.CheckCredentials() == nil {
		_, _ = t.ring(t.cfg) // the first call that needs it says what is wrong
	}
}

// newHandle is a handle of a session or an object.
func (t *Token) newHandle() uint64 { return t.epoch + t.handles.Add(1) }

func (t *Token) limit() key.ID {
	return key.ID{Project: t.cfg.ProjectSlug, Policy: t.cfg.SigningPolicySlug}
}

func (t *Token) loggedIn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.login != nil
}

// remember notes the policy that a search named: C_Login can then check the PIN.
func (t *Token) remember(n key.ID) {
	if !n.Named() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.named = n
}

// visible is the keyring that searches use: that of the login, else that of
// the settings' credentials, else none.
func (t *Token) visible() (*keyring, error) {
	t.mu.Lock()
	ring := t.login
	t.mu.Unlock()
	if ring != nil {
		return ring, nil
	}
	if t.configErr != nil {
		return nil, &failure{ckrGeneralError, t.configErr}
	}
	if t.cfg.CheckCredentials() != nil {
		return nil, nil // a PIN will bring them
	}
	return t.ring(t.cfg)
}

// ring is the keyring of some credentials; it stays for the life of the process.
func (t *Token) ring(cfg *config.Config) (*keyring, error) {
	if err := cfg.CheckCredentials(); err != nil {
		return nil, &failure{ckrGeneralError, err}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	who := credentials{cfg.OrganizationID, cfg.APIToken.Reveal()}
	if ring := t.rings[who]; ring != nil {
		return ring, nil
	}
	source, err := t.connect(cfg)
	if err != nil {
		return nil, &failure{ckrGeneralError, err}
	}
	ring := newKeyring(source, t.limit(), t.newHandle)
	ring.dummies = t.cfg.IncludeDummyCertificate
	t.rings[who] = ring
	return ring, nil
}

// logIn is C_Login (section 5.6). The PIN's form is checked here; the service
// is asked only when one policy is known, since that costs no more than the
// search that follows.
func (t *Token) logIn(ctx context.Context, userType uint64, pin string) error {
	if err := t.mayLogIn(userType); err != nil {
		return err
	}
	if t.configErr != nil {
		return &failure{ckrGeneralError, t.configErr}
	}
	cfg, err := t.cfg.WithPIN(pin)
	if err != nil {
		return pinFailure(err)
	}
	if t.only && cfg.FromPIN() {
		return failf(ckrPINIncorrect, "PIN: the agent signs with its own credentials and takes no others; pass the PIN %s", config.PINFromConfig)
	}
	ring, err := t.ring(cfg)
	if err != nil {
		return err
	}
	if err := t.checkPIN(ctx, ring); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.login != nil {
		return ckrUserAlreadyLoggedIn
	}
	if len(t.sessions) == 0 {
		return ckrSessionClosed // while the service was asked
	}
	t.login = ring
	return nil
}

func (t *Token) mayLogIn(userType uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case userType == ckuContextSpecific:
		return ckrOperationNotInitialized
	case userType == ckuSO && t.readOnlySessionExists():
		return ckrSessionReadOnlyExists
	case userType != ckuUser:
		return ckrUserTypeInvalid
	case t.login != nil:
		return ckrUserAlreadyLoggedIn
	}
	return nil
}

func (t *Token) checkPIN(ctx context.Context, ring *keyring) error {
	t.mu.Lock()
	known := t.named
	t.mu.Unlock()
	if limit := t.limit(); limit.Named() {
		known = limit
	}
	if !known.Named() {
		return nil
	}
	err := ring.ensure(ctx, known)
	if key.KindOf(err) == key.BadToken {
		return &failure{ckrPINIncorrect, err}
	}
	if err != nil {
		return keyFailure(err)
	}
	return nil
}

func (t *Token) logOut() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.login == nil {
		return ckrUserNotLoggedIn
	}
	t.endLogin()
	return nil
}

// endLogin ends what a login allows. The lock is held. Handles of private objects
// stay invalid, even after another login (PKCS #11 v2.40, C_Logout).
func (t *Token) endLogin() {
	if t.login != nil {
		t.login.renewPrivate()
	}
	t.login = nil
	for _, s := range t.sessions {
		s.endOperation(ckrUserNotLoggedIn)
	}
}

// slotInfo is CK_SLOT_INFO.
func slotInfo() []byte {
	b := appendPadded(nil, 64, "SignKit remote signing slot")
	b = appendPadded(b, 32, "signkit")
	b = appendNumbers(b, ckfTokenPresent|ckfHWSlot)
	return append(b, 1, 0, 1, 0, 0, 0, 0, 0) // two versions, and padding to 8 bytes
}

// tokenInfo is CK_TOKEN_INFO. The write-protected flag stays set where
// read/write sessions are tolerated: nothing can be written all the same.
func (t *Token) tokenInfo() []byte {
	t.mu.Lock()
	open, readWrite := uint64(len(t.sessions)), uint64(0)
	for _, s := range t.sessions {
		if s.readWrite {
			readWrite++
		}
	}
	t.mu.Unlock()
	const flags = ckfRNG | ckfWriteProtected | ckfLoginRequired | ckfUserPINInitialized | ckfTokenInitialized
	const infinite, unavailable = 0, ^uint64(0)
	b := appendPadded(nil, 32, "SignKit")
	b = appendPadded(b, 32, "signkit")
	b = appendPadded(b, 16, "remote")
	b = appendPadded(b, 16, "1")
	b = appendNumbers(b, flags, infinite, open, infinite, readWrite, 1024, 1, unavailable, unavailable, unavailable, unavailable)
	b = append(b, 1, 0, 1, 0)
	b = appendPadded(b, 16, "")
	return append(b, 0, 0, 0, 0)
}

// appendPadded appends text in a field of blanks (section 3: never ended by a NUL).
func appendPadded(b []byte, size int, text string) []byte {
	return fmt.Appendf(b, "%-*.*s", size, size, text)
}
