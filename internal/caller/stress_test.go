package caller

import (
	"strings"
	"testing"
	"time"
)

// A tool's command line is anybody's input: cleaning it must not become slow.
func TestLongCommandLinesAreCleanedInReasonableTime(t *testing.T) {
	for _, part := range []string{"a", "a ", "' ", "\" ", "\\ ", "a=", "a=' ", "--pin ", "?pin-value=", "?pin-value=a;b=", "://x?a=token&", "-p", org + ":", "://@", "?a=b", "{a", "\xff", "-a: ", "Authorization: ", `"'`, `'"' `} {
		start := time.Now()
		CleanCommandLine([]string{"pkcs11-tool", strings.Repeat(part, (64<<10)/len(part))})
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("%q repeated: %v", part, d)
		}
	}
}
