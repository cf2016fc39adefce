package mockapi_test

import (
	"context"
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

// limited is the test's context with an end.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	t.Cleanup(cancel)
	return ctx
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
