package artifact

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// OpenPGP is a key that gpg can sign with.
type OpenPGP struct {
	Home        string // GNUPGHOME
	Fingerprint string // 40 hex digits
	PublicKey   string // path of the transferable public key, armored
}

// environment of tools that call gpg.
func (s *Signer) gpgEnvironment() []string {
	return append(slices.Clone(s.Environ), "GNUPGHOME="+s.OpenPGP.Home, "LC_ALL=C.UTF-8")
}

// gpg makes one signature file.
func (s *Signer) gpg(ctx context.Context, file, dir, name string, command ...string) ([]Output, error) {
	path := filepath.Join(dir, name)
	args := append([]string{"--batch", "--no-tty", "--yes", "--local-user", s.OpenPGP.Fingerprint, "--output", path}, command...)
	if _, err := run(ctx, s.gpgEnvironment(), "", "gpg", append(args, "--", file)...); err != nil {
		return nil, err
	}
	return []Output{{path, name}}, nil
}

// keyring turns the armored key into what gpgv reads.
func (v verification) keyring(ctx context.Context) (string, error) {
	path := v.path("keyring.gpg")
	_, err := run(ctx, v.environment(), "", "gpg", "--batch", "--no-tty", "--yes", "--no-autostart", "--dearmor", "--output", path, v.PublicKey)
	return path, err
}

func (v verification) gpgv(ctx context.Context, args ...string) error {
	keyring, err := v.keyring(ctx)
	if err != nil {
		return err
	}
	_, err = run(ctx, v.environment(), "", "gpgv", append([]string{"--keyring", keyring}, args...)...)
	return err
}

// keyID is how debsig-verify names the owner of a signature: the last 16 digits.
func (v verification) keyID(ctx context.Context) (string, error) {
	output, err := run(ctx, v.environment(), "", "gpg", "--batch", "--no-tty", "--no-autostart", "--with-colons", "--show-keys", v.PublicKey)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(output) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" && len(fields) > 9 && len(fields[9]) >= 16 {
			return fields[9][len(fields[9])-16:], nil
		}
	}
	return "", fmt.Errorf("%s holds no OpenPGP key", v.PublicKey)
}
