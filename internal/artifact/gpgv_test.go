package artifact

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSignatureOfADayToCome counts for nothing; gpgv takes it. A clock may be ahead by hours.
func TestSignatureOfADayToCome(t *testing.T) {
	need(t, "gpg", "gpgv")
	key := softKey(t, "ours")
	for name, test := range map[string]struct {
		ahead time.Duration
		want  string
	}{
		"now": {0, ""}, "hours ahead": {12 * time.Hour, ""}, "days ahead": {50 * time.Hour, "which is to come"},
	} {
		t.Run(name, func(t *testing.T) {
			at := time.Now().Add(test.ahead).UTC().Format("20060102T150405")
			verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ(), InReleaseAlone: true}
			sign := func(file, name, command string) {
				t.Helper()
				shell(t, filepath.Dir(file), "gpg", "--homedir", key.Home, "--batch", "--faked-system-time", at,
					"--output", filepath.Join(filepath.Dir(file), name), command, file)
			}
			file := textFile(t, "app.tar.gz", "content")
			sign(file, "app.tar.gz.asc", "--detach-sign")
			wantText(t, verifier.Verify(deadline(t), Plain, file, filepath.Dir(file)), test.want)
			release := aptRelease(t, "Suite: stable\n")
			sign(release, "InRelease", "--clear-sign")
			wantText(t, verifier.Verify(deadline(t), AptRelease, release, filepath.Dir(release)), test.want)
		})
	}
}
