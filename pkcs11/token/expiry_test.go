package token

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

// TestExpiryIsAWarningAtSigning, once a process, and signing goes on.
func TestExpiryIsAWarningAtSigning(t *testing.T) {
	for name, test := range map[string]struct {
		left time.Duration
		want string
	}{
		"long to live": {31 * 24 * time.Hour, ""},
		"soon":         {29 * 24 * time.Hour, "expires soon"},
		"expired":      {-time.Hour, "has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			end := time.Now().Add(test.left)
			b.source.keys = append(b.source.keys, &fakeKey{
				id: "demo/ending", private: testKeys()["rsa"], leaf: &x509.Certificate{Raw: []byte{0x30, 0}, NotAfter: end},
			})
			session := b.open(t, "CONFIG")
			for range 2 {
				o, err := b.begin(t, session, ckmSHA256RSAPKCS, nil, "demo/ending")
				if err != nil {
					t.Fatal(err)
				}
				o.end()
			}
			count := strings.Count(b.log.String(), "level=WARN")
			if want := min(1, len(test.want)); count != want || !strings.Contains(b.log.String(), test.want) {
				t.Errorf("%d warnings, want %d with %q:\n%s", count, want, test.want, b.log)
			}
			if test.want != "" && !strings.Contains(b.log.String(), end.UTC().Format(time.DateOnly)) {
				t.Errorf("the record does not name the day:\n%s", b.log)
			}
		})
	}
}
