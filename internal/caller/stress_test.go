package caller

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A tool's command line is anybody's input: cleaning it must end soon. What counts is the time
// that this thread computes, which does not depend on what else the machine does; the bound is far
// below what a square of the length would take.
func TestLongCommandLinesAreCleaned(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, part := range []string{"a", "a ", "' ", "\" ", "\\ ", "a=", "a=' ", "--pin ", "?pin-value=", "?pin-value=a;b=", "://x?a=token&", "-p", org + ":", "://@", "?a=b", "{a", "\xff", "-a: ", "Authorization: ", `"'`, `'"' `} {
		start := computed(t)
		CleanCommandLine([]string{"pkcs11-tool", strings.Repeat(part, (64<<10)/len(part))})
		if d := computed(t) - start; d > time.Minute {
			t.Errorf("%q repeated: %v", part, d)
		}
	}
}

// computed is the processor time of the calling thread.
func computed(t *testing.T) time.Duration {
	t.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
