package token

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"signkit/internal/event"
	"signkit/internal/key"
	"signkit/pkcs11/wire"
)

// search is what a template says about where to look.
type search struct {
	class    uint64
	hasClass bool
	names    []string // values of CKA_ID and CKA_LABEL
	subject  []byte
	hopeless bool // nothing here can match, whatever the service has
}

func readTemplate(template []wire.Attribute) search {
	var s search
	for _, a := range template {
		switch a.Type {
		case ckaClass:
			s.hasClass = true
			if s.hopeless = s.hopeless || len(a.Value) != 8; !s.hopeless {
				s.class = binary.NativeEndian.Uint64(a.Value)
				s.hopeless = s.class < ckoCertificate || s.class > ckoPrivateKey
			}
		case ckaToken:
			s.hopeless = s.hopeless || !slices.Equal(a.Value, yes)
		case ckaID, ckaLabel:
			s.names = append(s.names, string(a.Value))
		case ckaSubject:
			s.subject = a.Value
		}
	}
	return s
}

// wanted is the policy that a search names; ok is false where it cannot be
// one, and then only what is known already can match.
func (s *search) wanted() (n key.ID, ok bool) {
	for _, text := range s.names {
		parsed, valid := parseName(text)
		if !valid || n.Named() && parsed != n {
			return key.ID{}, false
		}
		n = parsed
	}
	return n, true
}

// find runs a search: it asks the service for as little as can match.
func (t *Token) find(ctx context.Context, template []wire.Attribute) ([]uint64, error) {
	s := readTemplate(template)
	wanted, nameable := s.wanted()
	if nameable {
		t.remember(wanted)
	}
	loggedIn := t.loggedIn()
	if s.hopeless || !loggedIn && s.class == ckoPrivateKey {
		return nil, nil
	}
	ring, err := t.visible()
	if err != nil || ring == nil {
		return nil, err
	}
	if err := t.load(ctx, ring, &s, wanted, nameable); err != nil {
		return nil, keyFailure(err)
	}
	handles := ring.matching(template, loggedIn)
	if len(handles) == 0 && loggedIn {
		t.explainNothing(ctx, ring, &s, wanted, nameable)
	}
	return handles, nil
}

// load fetches what the search can match. Issuers are fetched only for a
// search that can mean nothing else: by the subject that a leaf's issuer has,
// or for a certificate by a name that no policy can have.
func (t *Token) load(ctx context.Context, ring *keyring, s *search, wanted key.ID, nameable bool) error {
	if s.hasClass && s.class == ckoCertificate && !nameable && s.subject == nil {
		if err := ring.ensure(ctx, key.ID{}); err != nil {
			return err
		}
		t.loadIssuers(ctx, ring, nil)
		return nil
	}
	if nameable && !(s.subject != nil && ring.knows(s.subject)) {
		if err := ring.ensure(ctx, wanted); err != nil {
			return err
		}
	}
	if s.subject != nil && (!s.hasClass || s.class == ckoCertificate) {
		t.loadIssuers(ctx, ring, s.subject)
	}
	return nil
}

// loadIssuers never fails a search: a token's user may sign without being
// allowed to read the organization's certificates.
func (t *Token) loadIssuers(ctx context.Context, ring *keyring, subject []byte) {
	if err := ring.ensureIssuers(ctx, subject); err != nil {
		t.log.Warn("the issuers' certificates cannot be read", "error", err)
	}
}

// explainNothing says why a search for a private key came back empty: the tool
// itself only says that there is no key. A search that names none is explained
// where nothing at all is there. A search for a public key or a certificate is
// explained where it names a policy that is not there: some tools look for
// those first. A policy that has no certificate is no mistake.
func (t *Token) explainNothing(ctx context.Context, ring *keyring, s *search, wanted key.ID, nameable bool) {
	if s.hasClass && s.class != ckoPrivateKey && (!nameable || !wanted.Named() || ring.hasKey(wanted)) {
		return
	}
	limit := t.limit()
	if len(s.names) == 0 {
		if !s.hasClass || len(ring.matching(nil, true)) > 0 {
			return
		}
		wanted = limit
	}
	switch {
	case !nameable:
		t.noKey(ctx, s.names[0], "no such key: a key is named PROJECT/POLICY")
	case !wanted.Named():
		t.noKey(ctx, "", "no key: the token's user may submit to no signing policy; check the policies' submitters", "shown", limit.String())
	case !limit.Covers(wanted):
		t.noKey(ctx, wanted.String(), "no such key: SIGNPATH_PROJECT_SLUG and SIGNPATH_SIGNING_POLICY_SLUG show another one only", "shown", limit.String())
	default:
		t.noKey(ctx, wanted.String(), "no such key: the token's user may submit to no such signing policy; check both slugs and the policy's submitters")
	}
}

// noKey says it to people and to programs. asked is the name that was looked for, if one was.
func (t *Token) noKey(ctx context.Context, asked, text string, more ...any) {
	if asked != "" {
		more = append([]any{"asked", asked}, more...)
	}
	t.log.Error(text, more...)
	if t.record != nil {
		t.record(event.Event{Time: time.Now().UTC(), Key: asked, Error: text, Kind: key.NoSuchPolicy, Caller: event.CallerIn(ctx)})
	}
}
