package artifact

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestToolThatDoesNotEndIsEnded, with what it started, and the error names the flag.
func TestToolThatDoesNotEndIsEnded(t *testing.T) {
	withPrograms(t, map[string]string{"openssl": "sleep 3600 & wait"})
	file := textFile(t, "app.bin", "content\n")
	write(t, file+".p7s", string(der))
	wantLimit := func(t *testing.T, err error) {
		t.Helper()
		if _, limit := errors.AsType[*TimeLimitError](err); !limit || !errors.Is(err, context.DeadlineExceeded) ||
			!strings.Contains(err.Error(), "openssl: ended by force: it had not ended after 50ms (--timeout)") {
			t.Errorf("%v", err)
		}
	}
	t.Run("verifying", func(t *testing.T) {
		v := verification{&Verifier{Environ: os.Environ()}, t.TempDir()}
		ctx, cancel := limited(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := run(ctx, v.environment(), "", "openssl", "version")
		wantLimit(t, err)
	})
	t.Run("signing", func(t *testing.T) {
		key := issue(t, "Ours", nil, nil)
		signer := &Signer{X509: &X509{Key: "demo/key", Chain: []*x509.Certificate{key.certificate}}, Environ: os.Environ(), Limit: 50 * time.Millisecond}
		_, err := signer.Sign(t.Context(), CMS, file, t.TempDir())
		wantLimit(t, err)
	})
}
