package card

import (
	"testing"
	"time"
)

// patience ends every wait of a test that hangs.
const patience = time.Minute

// await waits for a value, or for the end of a channel.
func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came within %s", patience)
		panic("not reached")
	}
}
