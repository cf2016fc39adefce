package assuan

import (
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
