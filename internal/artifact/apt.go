package artifact

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

var aptReleaseFormat = format{
	kind: AptRelease, openPGP: true,
	beside: func(string) []string { return []string{"InRelease", "Release.gpg"} },
	match:  func(c *candidate) bool { return c.name == "Release" && isAptRelease(c.head) },
	sign:   (*Signer).signAptRelease,
	verify: verification.verifyAptRelease,
}

// isAptRelease looks for a field that every Release with content has (apt-secure(8)).
func isAptRelease(head []byte) bool {
	for line := range bytes.Lines(head) {
		for _, field := range []string{"Suite:", "Codename:", "MD5Sum:", "SHA256:", "Origin:", "Date:"} {
			if bytes.HasPrefix(line, []byte(field)) {
				return true
			}
		}
	}
	return false
}

// signAptRelease makes both signatures that clients look for (apt-secure(8)). SHA-512, since
// apt refuses SHA-1 whatever the key prefers.
func (s *Signer) signAptRelease(ctx context.Context, file, dir string) ([]Output, error) {
	inline, err := s.gpg(ctx, file, dir, "InRelease", "--digest-algo", "SHA512", "--clear-sign")
	if err != nil {
		return nil, err
	}
	detached, err := s.gpg(ctx, file, dir, "Release.gpg", "--digest-algo", "SHA512", "--armor", "--detach-sign")
	return append(inline, detached...), err
}

// aptRelease checks both signatures, and that InRelease says what Release says.
func (v verification) verifyAptRelease(ctx context.Context, file, dir string) error {
	if err := v.gpgv(ctx, filepath.Join(dir, "Release.gpg"), file); err != nil {
		return err
	}
	content := v.path("content")
	if err := v.gpgv(ctx, "--output", content, filepath.Join(dir, "InRelease")); err != nil {
		return err
	}
	want, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	got, err := os.ReadFile(content)
	if err != nil {
		return err
	}
	// A clear-signed text loses the blanks at the ends of its lines (RFC 4880, section 7.1).
	if trimLines(string(got)) != trimLines(string(want)) {
		return errors.New("InRelease is the signature of another Release")
	}
	return nil
}

func trimLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\r")
	}
	return strings.Join(lines, "\n")
}
