package token

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"

	"signkit/internal/key"
	"signkit/pkcs11/wire"
)

// Source lists the keys that one set of credentials may use.
type Source interface {
	// Keys returns the key of one policy, or all of a project, or all: an empty
	// slug is any.
	Keys(ctx context.Context, project, policy string) ([]Key, error)
}

// parseName is key.ParseID for what tools write, who may mean something else with it.
func parseName(s string) (key.ID, bool) {
	id, err := key.ParseID(s)
	return id, err == nil && !strings.ContainsFunc(s, notInSlug)
}

func notInSlug(r rune) bool { return r <= ' ' || r == 0x7F }

// keyring holds the objects of one set of credentials. What was asked for once
// is kept; concurrent calls share one request.
type keyring struct {
	source  Source
	limit   key.ID // from the settings: nothing else is shown
	handles func() uint64
	dummies bool // a key without a certificate is shown with an unsigned one

	mu      sync.Mutex
	fetched []key.ID
	running map[key.ID]*fetch
	objects []*object
	chains  map[Key]bool // whose issuers were asked for
}

type fetch struct {
	done chan struct{}
	err  error
}

func newKeyring(source Source, limit key.ID, handles func() uint64) *keyring {
	return &keyring{source: source, limit: limit, handles: handles, running: map[key.ID]*fetch{}, chains: map[Key]bool{}}
}

// ensure fetches what n names unless it is here already.
func (r *keyring) ensure(ctx context.Context, n key.ID) error {
	if !r.limit.Covers(n) && n.Named() {
		return nil // the settings hide it
	}
	if !n.Named() {
		n = r.limit
	}
	r.mu.Lock()
	if slices.ContainsFunc(r.fetched, func(have key.ID) bool { return have.Covers(n) }) {
		r.mu.Unlock()
		return nil
	}
	f := r.running[n]
	if f == nil {
		f = &fetch{done: make(chan struct{})}
		r.running[n] = f
		// The request outlives a caller that gives up: another may wait for it.
		go r.fetch(context.WithoutCancel(ctx), n, f)
	}
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *keyring) fetch(ctx context.Context, n key.ID, f *fetch) {
	defer close(f.done)
	keys, err := r.source.Keys(ctx, n.Project, n.Policy)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, n)
	if err != nil {
		f.err = err
		return
	}
	for _, key := range keys {
		f.err = r.add(key)
		if f.err != nil {
			return
		}
	}
	// A policy that is not there may be made in a moment: only what was found is kept.
	if len(keys) > 0 || !n.Named() {
		r.fetched = append(r.fetched, n)
	}
}

// add puts the objects of one key in, once.
func (r *keyring) add(key Key) error {
	if slices.ContainsFunc(r.objects, func(o *object) bool { return o.key != nil && o.key.ID() == key.ID() }) {
		return nil
	}
	list, err := r.objectsOf(key)
	if err != nil {
		return err
	}
	r.append(list...)
	return nil
}

// Shared is what the tokens of one process have of a key in common. A source that gives many tokens the same keys has one for
// each key, which then has a method Shared.
type Shared struct {
	once    sync.Once
	objects []*object
	err     error
}

func (r *keyring) objectsOf(key Key) ([]*object, error) {
	common, ok := key.(interface{ Shared() *Shared })
	if !ok || key.Certificate() == nil { // it may be shown with an unsigned one here, and not elsewhere
		certificate, err := r.certificate(key)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", key.ID(), err)
		}
		return keyObjects(key, certificate)
	}
	s := common.Shared()
	s.once.Do(func() { s.objects, s.err = keyObjects(key, key.Certificate()) })
	list := make([]*object, len(s.objects))
	for i, o := range s.objects {
		copied := *o // but for its attributes, which do not change
		list[i] = &copied
	}
	return list, s.err
}

// certificate is what a key is shown with; nil: none.
func (r *keyring) certificate(key Key) (*x509.Certificate, error) {
	if c := key.Certificate(); c != nil || !r.dummies {
		return c, nil
	}
	return unsignedCertificate(key.ID(), key.Public())
}

// hasKey reports whether the key of a policy is here.
func (r *keyring) hasKey(n key.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.objects, func(o *object) bool { return o.key != nil && o.key.ID() == n.String() })
}

func (r *keyring) append(list ...*object) {
	for _, o := range list {
		o.handle = r.handles()
		r.objects = append(r.objects, o)
	}
}

// renewPrivate gives the private objects new handles.
func (r *keyring) renewPrivate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.objects {
		if o.private {
			o.handle = r.handles()
		}
	}
}

// drop forgets a key whose policy has changed, so that the next search asks again.
func (r *keyring) drop(gone Key) {
	if source, ok := r.source.(interface{ Forget(Key) }); ok {
		source.Forget(gone) // it keeps keys, for others as well
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.objects = slices.DeleteFunc(r.objects, func(o *object) bool { return o.key == gone })
	n, _ := parseName(gone.ID())
	r.fetched = slices.DeleteFunc(r.fetched, func(have key.ID) bool { return have.Covers(n) })
	delete(r.chains, gone)
}

// matching returns the visible objects that match, in a stable order.
func (r *keyring) matching(template []wire.Attribute, private bool) []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var handles []uint64
	for _, o := range r.objects {
		if (private || !o.private) && o.matches(template) {
			handles = append(handles, o.handle)
		}
	}
	return handles
}

func (r *keyring) object(handle uint64) *object {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.objects {
		if o.handle == handle {
			return o
		}
	}
	return nil
}

// knows reports whether a certificate here has the subject, or was issued by it.
func (r *keyring) knows(subject []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.objects, func(o *object) bool {
		return o.certificate != nil && (bytes.Equal(o.certificate.RawSubject, subject) || bytes.Equal(o.certificate.RawIssuer, subject))
	})
}

// ensureIssuers fetches the chains of the leaves that subject issued, or of
// all leaves if it is nil: one for each issuer that is not here yet.
func (r *keyring) ensureIssuers(ctx context.Context, subject []byte) error {
	for _, key := range r.issuedBy(subject) {
		chain, err := key.Chain(ctx)
		if err != nil {
			return err
		}
		r.mu.Lock()
		for _, c := range chain {
			if !slices.ContainsFunc(r.objects, func(o *object) bool { return o.certificate != nil && o.certificate.Equal(c) }) {
				r.append(issuerObject(c))
			}
		}
		r.chains[key] = true
		r.mu.Unlock()
	}
	return nil
}

func (r *keyring) issuedBy(subject []byte) []Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	have := map[string]bool{}
	for _, o := range r.objects {
		if o.certificate != nil {
			have[string(o.certificate.RawSubject)] = true
		}
	}
	var keys []Key
	for _, o := range r.objects {
		c := o.certificate
		if c == nil || o.key == nil || r.chains[o.key] || have[string(c.RawIssuer)] {
			continue
		}
		if subject == nil || bytes.Equal(c.RawIssuer, subject) {
			keys = append(keys, o.key)
			have[string(c.RawIssuer)] = true
		}
	}
	return keys
}
