package agent

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"
	"time"

	"signkit/internal/event"
	"signkit/internal/key"
	"signkit/internal/signpath"
)

// ErrBudget reports that as many signatures were asked for as there may be.
var ErrBudget = key.NewError(key.Refused, "the signatures of this job are used up")

// Totals count what an agent has done.
type Totals struct {
	Signatures int           `json:"signatures"`
	Failures   int           `json:"failures"`
	Service    time.Duration `json:"-"` // the sum of the times in the service
}

type tally struct {
	mu     sync.Mutex
	totals Totals
}

func (t *tally) add(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.totals.Service += took
	if err != nil {
		t.totals.Failures++
	} else {
		t.totals.Signatures++
	}
}

// Totals are what was done so far.
func (a *Agent) Totals() Totals {
	a.tally.mu.Lock()
	defer a.tally.mu.Unlock()
	return a.tally.totals
}

// budget bounds the signatures of one job.
type budget struct {
	most int // 0: no bound

	mu    sync.Mutex
	spent int
}

func (b *budget) take() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.most > 0 && b.spent >= b.most {
		return fmt.Errorf("%w: there may be %d (--max-signatures)", ErrBudget, b.most)
	}
	b.spent++
	return nil
}

// settle gives back what was certainly not signed. What may have been counts.
func (b *budget) settle(err error) {
	kind := key.KindOf(err)
	refused := kind == key.Unsupported || kind == key.DigestLength // nobody was asked
	if service, ok := errors.AsType[*signpath.Error](err); ok {
		refused = service.Refused()
	}
	if refused {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.spent--
	}
}

// sign is the one way to a signature.
func (a *Agent) sign(ctx context.Context, k *Key, digest []byte, opts crypto.SignerOpts) (*signpath.Signed, error) {
	a.alive()
	defer a.alive()
	began := a.o.Now()
	if err := a.budget.take(); err != nil {
		a.record(ctx, k, digest, began, nil, err)
		return nil, event.Told(err)
	}
	signed, err := k.Key.Submit(ctx, digest, opts)
	a.budget.settle(err)
	a.record(ctx, k, digest, began, signed, err)
	return signed, event.Told(err)
}

func (a *Agent) record(ctx context.Context, k *Key, digest []byte, began time.Time, signed *signpath.Signed, err error) {
	took := a.o.Now().Sub(began)
	a.tally.add(took, err)
	record := a.recorder(ctx)
	if record == nil {
		return
	}
	e := event.Begin(k.ID(), digest, began)
	e.Seconds, e.Caller = took.Seconds(), event.CallerIn(ctx)
	if signed != nil {
		e.Algorithm, e.RequestID, e.WebLink = signed.Algorithm, signed.RequestID, signed.WebLink
	}
	if err != nil {
		e.Fail(err)
	}
	record(e)
}
