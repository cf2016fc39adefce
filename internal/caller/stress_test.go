package caller

import (
	"strings"
	"testing"
	"time"
)

// A tool's command line is anybody's input: cleaning it must not take for ever. The bound is
// far above what it takes on a busy machine, and far below what a square of the length would.
func TestLongCommandLinesAreCleaned(t *testing.T) {
	for _, part := range []string{"a", "a ", "' ", "\" ", "\\ ", "a=", "a=' ", "--pin ", "?pin-value=", "?pin-value=a;b=", "://x?a=token&", "-p", org + ":", "://@", "?a=b", "{a", "\xff", "-a: ", "Authorization: ", `"'`, `'"' `} {
		start := time.Now()
		CleanCommandLine([]string{"pkcs11-tool", strings.Repeat(part, (64<<10)/len(part))})
		if d := time.Since(start); d > time.Minute {
			t.Errorf("%q repeated: %v", part, d)
		}
	}
}
