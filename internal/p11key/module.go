package p11key

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/pkcs11"
)

// closeBound ends a Close of a module that hangs.
const closeBound = 5 * time.Second

// Module is a token of a PKCS#11 module, ready to be searched for keys. It is safe for
// concurrent use.
type Module struct {
	options  Options
	library  *library
	sessions *pool
}

// Open loads the module and finds the token. It reads no PIN yet, and looks for no key.
func Open(ctx context.Context, o Options) (*Module, error) {
	l, err := load(o.Module)
	if err != nil {
		return nil, err
	}
	m := &Module{options: o, library: l}
	m.sessions = &pool{module: m}
	l.mu.Lock()
	l.pools[m.sessions] = struct{}{}
	l.mu.Unlock()
	if err := m.start(ctx); err != nil {
		return nil, errors.Join(err, m.close(ctx))
	}
	return m, nil
}

func (m *Module) start(ctx context.Context) error {
	// A call of its own: only then is it known whether the module takes calls in parallel.
	_, err := call(ctx, m.library, func() (struct{}, error) { return struct{}{}, m.library.initialize() })
	if err != nil {
		return err
	}
	_, err = call(ctx, m.library, m.findToken)
	return err
}

// Close closes the sessions, and ends the module with its last user. The library stays
// loaded: modules with threads do not bear to be unloaded.
func (m *Module) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	return m.close(ctx)
}

func (m *Module) close(ctx context.Context) error {
	m.library.mu.Lock()
	delete(m.library.pools, m.sessions)
	m.library.mu.Unlock()
	_, err := call(ctx, m.library, func() (struct{}, error) {
		m.sessions.drop(m.sessions.generationNow())
		return struct{}{}, nil
	})
	return errors.Join(err, m.library.release(ctx))
}

// token is a slot with the token that is wanted.
type token struct {
	slot uint
	info pkcs11.TokenInfo
}

func (t token) has(flag uint) bool { return t.info.Flags&flag != 0 }

// findToken looks through all slots, since tokens may move.
func (m *Module) findToken() (token, error) {
	slots, err := m.library.ctx.GetSlotList(true)
	if err != nil {
		return token{}, fmt.Errorf("PKCS#11 module %s: C_GetSlotList: %w", m.options.Module, err)
	}
	var all, matching []token
	var unreadable error
	for _, slot := range slots {
		info, err := m.library.ctx.GetTokenInfo(slot)
		if err != nil {
			unreadable = fmt.Errorf("slot %d: C_GetTokenInfo: %w", slot, err)
			continue
		}
		t := token{slot, info}
		t.info.Label = strings.TrimRight(info.Label, " \x00")
		if !t.has(pkcs11.CKF_TOKEN_INITIALIZED) && t.info.Label == "" {
			continue // an empty place, such as SoftHSM's last slot
		}
		all = append(all, t)
		if m.options.Token == "" || m.options.Token == t.info.Label {
			matching = append(matching, t)
		}
	}
	if len(matching) == 1 {
		return matching[0], nil
	}
	return token{}, errors.Join(m.noToken(all, len(matching)), unreadable)
}

func (m *Module) noToken(all []token, matching int) error {
	labels := make([]string, 0, len(all))
	for _, t := range all {
		labels = append(labels, fmt.Sprintf("%q", t.info.Label))
	}
	slices.Sort(labels)
	there := "it has " + strings.Join(labels, ", ")
	switch {
	case len(all) == 0:
		return fmt.Errorf("PKCS#11 module %s shows no token; check the module path and the module's own configuration", m.options.Module)
	case m.options.Token == "":
		return fmt.Errorf("PKCS#11 module %s has several tokens; choose one by its token label: %s", m.options.Module, there)
	case matching > 1:
		return fmt.Errorf("PKCS#11 module %s has %d tokens with the label %q; give each a label of its own", m.options.Module, matching, m.options.Token)
	}
	return fmt.Errorf("PKCS#11 module %s has no token with the label %q; check the token label: %s", m.options.Module, m.options.Token, there)
}
