package signpath

import (
	"context"
	"net/http"
	"testing"
	"time"
)

// bound ends every wait of a test that hangs.
const bound = time.Minute

// await waits for a value, or for the end of a channel.
func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(bound):
		t.Fatalf("nothing came within %s", bound)
		panic("not reached")
	}
}

// waitFor is await for a handler, which must not outlive its client.
func waitFor(r *http.Request, c <-chan struct{}) {
	select {
	case <-c:
	case <-r.Context().Done():
	}
}

// until looks again and again whether something has happened.
func until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(bound); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", bound, what)
		}
	}
}

// expiring is a context whose time is over when a channel is closed.
type expiring struct {
	context.Context
	over <-chan struct{}
}

func (c expiring) Done() <-chan struct{} { return c.over }

func (c expiring) Err() error {
	select {
	case <-c.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}
