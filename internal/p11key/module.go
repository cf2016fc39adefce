package p11key

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/pkcs11"
)

// closeBound ends a Close of a module that hangs.
const closeBound = 5 * time.Second

// Module is a token of a PKCS#11 module, ready to be searched for its key. It is safe for
// concurrent use.
type Module struct {
	options Options
	library *library
}

// Open loads the module and finds the token. It reads no PIN yet, and looks for no key.
func Open(ctx context.Context, o Options) (*Module, error) {
	l, err := load(o.Module)
	if err != nil {
		return nil, err
	}
	m := &Module{o, l}
	// A call of its own: only then is it known whether the module takes calls in parallel.
	_, err = call(ctx, l, 1, func() (none struct{}, _ error) { return none, l.begin() })
	if err == nil {
		_, err = call(ctx, l, l.place(), m.findToken)
	}
	if err != nil {
		return nil, errors.Join(err, m.close(ctx))
	}
	return m, nil
}

// Close closes the sessions, and ends the module with its last user. The library stays
// loaded: modules with threads do not bear to be unloaded.
func (m *Module) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	return m.close(ctx)
}

func (m *Module) close(ctx context.Context) error {
	l := m.library
	taken := l.place()
	l.mu.Lock()
	l.users--
	last := l.users == 0
	l.mu.Unlock()
	if last {
		taken = places
	}
	_, err := call(ctx, l, taken, func() (none struct{}, _ error) {
		l.closeIdle(m)
		if last {
			l.endUnused()
		}
		return none, nil
	})
	if err != nil {
		return fmt.Errorf("closing PKCS#11 module %s: %w", l.path, err)
	}
	return nil
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
	var labels []string
	var matching []token
	var unreadable error
	for _, slot := range slots {
		info, err := m.library.ctx.GetTokenInfo(slot)
		if err != nil {
			unreadable = fmt.Errorf("slot %d: C_GetTokenInfo: %w", slot, err)
			continue
		}
		label := strings.TrimRight(info.Label, " \x00")
		if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 && label == "" {
			continue // an empty place, such as SoftHSM's last slot
		}
		labels = append(labels, strconv.Quote(label))
		if m.options.Token == "" || m.options.Token == label {
			matching = append(matching, token{slot, info})
		}
	}
	if len(matching) == 1 {
		return matching[0], nil
	}
	slices.Sort(labels)
	return token{}, errors.Join(m.noToken(labels, len(matching)), unreadable)
}

func (m *Module) noToken(labels []string, matching int) error {
	there, advice := "no token", "check the module path and the module's own configuration"
	switch {
	case len(labels) == 0:
	case m.options.Token == "":
		there, advice = "several tokens", "choose one by its token label: it has "+strings.Join(labels, ", ")
	case matching > 1:
		there, advice = fmt.Sprintf("%d tokens with the label %q", matching, m.options.Token), "give each a label of its own"
	default:
		there, advice = fmt.Sprintf("no token with the label %q", m.options.Token), "check the token label: it has "+strings.Join(labels, ", ")
	}
	return fmt.Errorf("PKCS#11 module %s has %s; %s", m.options.Module, there, advice)
}
