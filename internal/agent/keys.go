package agent

import (
	"context"
	"crypto"
	"slices"
	"strings"
	"sync"

	"signkit/internal/key"
	"signkit/internal/signpath"
	"signkit/pkcs11/token"
)

// Key is a key whose signatures the agent counts and records.
type Key struct {
	*signpath.Key
	agent            *Agent
	certificate, gpg *download
	shared           token.Shared
}

// Shared is what all modules that use the key see of it.
func (k *Key) Shared() *token.Shared { return &k.shared }

// download is what is fetched once, for all who ask.
type download struct {
	turn chan struct{} // holds one element while nobody fetches
	data []byte
}

func newDownload() *download {
	d := &download{turn: make(chan struct{}, 1)}
	d.turn <- struct{}{}
	return d
}

func (d *download) get(ctx context.Context, fetch func(context.Context) ([]byte, error)) ([]byte, error) {
	select {
	case <-d.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { d.turn <- struct{}{} }()
	if d.data != nil {
		return d.data, nil
	}
	var err error
	d.data, err = fetch(ctx)
	return d.data, err
}

// SignContext is signpath.Key's, within the agent's budget.
func (k *Key) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signed, err := k.agent.sign(ctx, k, digest, opts)
	if err != nil {
		return nil, err
	}
	return signed.Signature, nil
}

// keyStore reads the keys that may be used from the service, each once for the life of the agent.
type keyStore struct {
	agent  *Agent
	client *signpath.Client
	named  []string // none: all within limit
	limit  signpath.Filter

	mu      sync.Mutex
	lookups map[signpath.Filter]*lookup
}

// lookup is one request for keys. Callers that ask at the same time share it.
type lookup struct {
	done chan struct{}
	keys []*Key
	err  error
}

// list is the key of one policy, all of a project, or all: an empty slug is any. What may not be used is
// not there.
func (s *keyStore) list(ctx context.Context, project, policy string) ([]*Key, error) {
	var keys []*Key
	for _, f := range s.filters(project, policy) {
		found, err := s.look(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, key := range found {
			if s.usable(key.ID()) && matches(key, project, policy) {
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}

// filters are the requests that list makes.
func (s *keyStore) filters(project, policy string) []signpath.Filter {
	if len(s.named) == 0 {
		if !overlap(s.limit.ProjectSlug, project) || !overlap(s.limit.SigningPolicySlug, policy) {
			return nil
		}
		if project != "" && policy != "" {
			return []signpath.Filter{{ProjectSlug: project, SigningPolicySlug: policy}}
		}
		return []signpath.Filter{s.limit}
	}
	var filters []signpath.Filter
	for _, name := range s.named {
		id, err := key.ParseID(name)
		if err == nil && overlap(id.Project, project) && overlap(id.Policy, policy) {
			filters = append(filters, signpath.Filter{ProjectSlug: id.Project, SigningPolicySlug: id.Policy})
		}
	}
	return filters
}

// overlap reports whether two slugs can be the same; an empty one is any.
func overlap(a, b string) bool { return a == "" || b == "" || strings.EqualFold(a, b) }

func matches(k *Key, project, policy string) bool {
	return overlap(k.ProjectSlug(), project) && overlap(k.PolicySlug(), policy)
}

// usable reports whether a key is one that was named.
func (s *keyStore) usable(id string) bool { return len(s.named) == 0 || slices.Contains(s.named, id) }

func (s *keyStore) look(ctx context.Context, f signpath.Filter) ([]*Key, error) {
	s.mu.Lock()
	l := s.lookups[f]
	if l == nil {
		l = &lookup{done: make(chan struct{})}
		if s.lookups == nil {
			s.lookups = map[signpath.Filter]*lookup{}
		}
		s.lookups[f] = l
		// The request outlives a caller that gives up: another may wait for it.
		go s.fetch(context.WithoutCancel(ctx), f, l)
	}
	s.mu.Unlock()
	select {
	case <-l.done:
		return l.keys, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fetch keeps what was found. A policy that is not there may be made in a moment.
func (s *keyStore) fetch(ctx context.Context, f signpath.Filter, l *lookup) {
	defer close(l.done)
	keys, err := s.client.Policies(ctx, f)
	for _, key := range keys {
		l.keys = append(l.keys, &Key{Key: key, agent: s.agent, certificate: newDownload(), gpg: newDownload()})
	}
	l.err = err
	if err == nil && len(keys) > 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lookups[f] == l {
		delete(s.lookups, f)
	}
}

// forget lets a key be read again whose policy has changed.
func (s *keyStore) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f, l := range s.lookups {
		select {
		case <-l.done:
			if slices.ContainsFunc(l.keys, func(k *Key) bool { return k.ID() == id }) {
				delete(s.lookups, f)
			}
		default: // it is being read now
		}
	}
}

// Keys and Forget make the store the source of all tokens.
func (s *keyStore) Keys(ctx context.Context, project, policy string) ([]token.Key, error) {
	keys, err := s.list(ctx, project, policy)
	list := make([]token.Key, len(keys))
	for i, key := range keys {
		list[i] = key
	}
	return list, err
}

func (s *keyStore) Forget(key token.Key) { s.forget(key.ID()) }
