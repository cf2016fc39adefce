package card

import (
	"crypto"
	"strings"
	"testing"
	"time"

	"signkit/gpgagent/keyfile"
)

// TestExpiryIsAWarningAtEverySigning of a key that ends within 30 days.
func TestExpiryIsAWarningAtEverySigning(t *testing.T) {
	soon, late := time.Now().Add(29*24*time.Hour), time.Now().Add(31*24*time.Hour)
	for name, test := range map[string]struct {
		end      *time.Time
		warnings int
	}{"never": {nil, 0}, "late": {&late, 0}, "soon": {&soon, 2}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			e := testEntry(t, "p256")
			e.Expires = test.end
			if err := keyfile.Add(b.path, e); err != nil {
				t.Fatal(err)
			}
			c := b.dial()
			data, _ := digestInfo(t, crypto.SHA256, "message")
			for range 2 {
				if _, got := c.sign(t, "--hash=sha256", e.Keygrip, data); got != "OK" {
					t.Fatalf("PKSIGN: %q", got)
				}
			}
			if got := strings.Count(b.log.String(), "signkit gpg extend demo/p256"); got != test.warnings {
				t.Errorf("%d warnings, want %d:\n%s", got, test.warnings, b.log)
			}
		})
	}
}
