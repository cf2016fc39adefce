package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"
	"time"

	"signkit/gpgagent/assuan"
	"signkit/gpgagent/card"
	"signkit/gpgagent/keyfile"
	"signkit/internal/event"
	"signkit/internal/key"
	"signkit/internal/p11key"
	"signkit/internal/process"
	"signkit/internal/signpath"
)

// parallel is how many signatures the service is asked for at the same time, where the settings
// do not say. It is more than the default of the module's process, since every gpg of the
// machine shares the bridge, and each other tool has a process, and so a bound, of its own.
const parallel = 16

// sources opens keys where they lie: with the signing service or behind a
// PKCS#11 module.
type sources struct {
	environ []string
	process *process.Process
	record  event.Recorder // nil: nobody wants to know

	mu     sync.Mutex
	client *signpath.Client // nil until the settings are right
}

func newSources(environ []string, p *process.Process, record event.Recorder) *sources {
	return &sources{environ: environ, process: p, record: record}
}

func (s *sources) open(ctx context.Context, e keyfile.Entry) (key.Signer, error) {
	public, err := e.PublicKey()
	if err != nil {
		return nil, err
	}
	if e.PKCS11 != nil {
		return s.openModule(ctx, e, public)
	}
	client, err := s.service()
	if err != nil {
		return nil, err
	}
	return client.KnownKey(e.SignPath.Project, e.SignPath.Policy, public)
}

// service is the client of the signing service, with the settings of
// gpg-agent's environment. Wrong ones are read again each time: the file they
// come from may have been put right.
func (s *sources) service() (*signpath.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	cfg, err := process.Settings(s.environ, "/", s.process.Redactor)
	if err != nil {
		return nil, fmt.Errorf("reading the settings: %w", err)
	}
	if variable(s.environ, "SIGNKIT_MAX_PARALLEL") == "" {
		cfg.MaxParallel = parallel
	}
	client, err := s.process.Client(cfg, s.record)
	if err != nil {
		return nil, fmt.Errorf("%w (gpg-agent keeps the environment that it was started with: "+
			"after a change, signkit gpg init starts it again)", err)
	}
	s.client = client
	return client, nil
}

func (s *sources) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		s.client.Close()
	}
}

// openModule finds the key that was set up. Modules stay loaded until this
// process ends.
func (s *sources) openModule(ctx context.Context, e keyfile.Entry, public crypto.PublicKey) (key.Signer, error) {
	p := *e.PKCS11
	module, err := p11key.Open(ctx, p11key.Options{Module: p.Module, Token: p.Token, Key: p.Key, PINFile: p.PINFile})
	if err != nil {
		return nil, card.CodedError(assuan.Configuration, err)
	}
	key, err := module.Find(ctx)
	if err == nil && !samePublic(key.Public(), public) {
		err = fmt.Errorf("%s is another key than the one that was set up; set it up again (signkit gpg init)", key.ID())
	}
	if err != nil {
		return nil, card.CodedError(assuan.Configuration, errors.Join(err, module.Close()))
	}
	return moduleKey{key, e.ID(), s.process.Record(s.record)}, nil
}

func samePublic(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

// moduleKey records its signatures, and gives the errors of a module the codes that gpg shows; what fails, the card records.
type moduleKey struct {
	*p11key.Key
	id     string
	record event.Recorder
}

func (k moduleKey) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	began := time.Now()
	signature, err := k.Key.SignContext(ctx, digest, opts)
	if err != nil {
		return nil, card.CodedError(assuan.NotOperational, err)
	}
	if k.record != nil {
		e := event.Begin(k.id, digest, began)
		e.Seconds = time.Since(began).Seconds()
		k.record(e)
	}
	return signature, nil
}
