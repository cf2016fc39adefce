package token

import (
	"context"
	"sync"
	"testing"
	"time"

	"signkit/internal/config"
)

// gate is a source whose requests wait until it is opened.
type gate struct {
	Source
	opened chan struct{}
	once   sync.Once
	asked  chan struct{} // one for each request
}

func (g *gate) Keys(ctx context.Context, project, policy string) ([]Key, error) {
	g.asked <- struct{}{}
	select {
	case <-g.opened:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return g.Source.Keys(ctx, project, policy)
}

// wait returns when a request waits.
func (g *gate) wait(t testing.TB) {
	t.Helper()
	select {
	case <-g.asked:
	case <-time.After(patience):
		t.Fatal("nothing was asked")
	}
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// gate puts one before the bench's source. It must be called before anything is asked.
func (b *bench) gate() *gate {
	g := &gate{Source: b.source, opened: make(chan struct{}), asked: make(chan struct{}, 100)}
	b.connect = func(*config.Config) (Source, error) { return g, nil }
	return g
}
