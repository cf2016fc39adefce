package artifact

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Verifier judges signatures with the tools' own verifiers and public material alone.
type Verifier struct {
	PublicKey string              // path of an armored OpenPGP key; only its signatures count
	Roots     string              // path of root certificates, PEM; empty: the system's
	Chain     []*x509.Certificate // the signer's certificates, leaf first; nil: any signer with a chain to a root
	TimeStamp bool                // a time-stamp must be there where the format has room for one
	Environ   []string
}

// ErrUnsigned is the error for a file that carries no signature at all.
var ErrUnsigned = errors.New("not signed")

// SignatureNames are the names of the signatures of a file, beside it; none for formats that
// hold them inside.
func SignatureNames(kind Kind, file string) []string {
	name := filepath.Base(file)
	switch kind {
	case AptRelease:
		return []string{"InRelease", "Release.gpg"}
	case YumIndex, Plain:
		return []string{name + ".asc"}
	case CMS:
		return []string{name + ".p7s"}
	}
	return nil
}

// Verify checks a file whose signatures, if they are files of their own, lie in the folder
// dir. ErrUnsigned: there is no signature. *MissingToolError: nothing is known. Anything else:
// a signature does not hold.
func (v *Verifier) Verify(ctx context.Context, kind Kind, file, dir string) error {
	if kind.UsesOpenPGP() && v.PublicKey == "" {
		return errors.New("no OpenPGP public key to verify with")
	}
	for _, name := range SignatureNames(kind, file) {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %s is missing", ErrUnsigned, name)
		}
	}
	scratch, err := os.MkdirTemp("", "signkit-verify-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	check := verification{v, scratch}
	switch kind {
	case RPM:
		return check.rpm(ctx, file)
	case Deb:
		return check.deb(ctx, file)
	case Jar:
		return check.jar(ctx, file)
	case Authenticode:
		return check.authenticode(ctx, file)
	case AptRelease:
		return check.aptRelease(ctx, file, dir)
	case YumIndex, Plain:
		return check.detached(ctx, filepath.Join(dir, filepath.Base(file)+".asc"), file)
	case CMS:
		return check.cms(ctx, file, filepath.Join(dir, filepath.Base(file)+".p7s"))
	}
	return fmt.Errorf("unknown kind %q", kind)
}

// verification is one call of Verify with its folder for temporary files.
type verification struct {
	*Verifier
	scratch string
}

// environment keeps the user's keys, trust and language out of it.
func (v verification) environment() []string {
	return append(slices.Clone(v.Environ), "GNUPGHOME="+v.scratch, "LC_ALL=C.UTF-8")
}

func (v verification) path(name string) string { return filepath.Join(v.scratch, name) }

// keyring turns the armored key into what gpgv reads.
func (v verification) keyring(ctx context.Context) (string, error) {
	path := v.path("keyring.gpg")
	_, err := run(ctx, v.environment(), "", "gpg", "--batch", "--no-tty", "--yes", "--no-autostart", "--dearmor", "--output", path, v.PublicKey)
	return path, err
}

func (v verification) detached(ctx context.Context, args ...string) error {
	keyring, err := v.keyring(ctx)
	if err != nil {
		return err
	}
	_, err = run(ctx, v.environment(), "", "gpgv", append([]string{"--keyring", keyring}, args...)...)
	return err
}

// aptRelease checks both signatures, and that InRelease says what Release says.
func (v verification) aptRelease(ctx context.Context, file, dir string) error {
	if err := v.detached(ctx, filepath.Join(dir, "Release.gpg"), file); err != nil {
		return err
	}
	content := v.path("content")
	if err := v.detached(ctx, "--output", content, filepath.Join(dir, "InRelease")); err != nil {
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

// rpm uses a package database of its own that knows this one key. rpmkeys takes unsigned
// packages, so its words count, not only its exit status.
func (v verification) rpm(ctx context.Context, file string) error {
	db := v.path("rpm")
	if _, err := run(ctx, v.environment(), "", "rpmkeys", "--dbpath", db, "--import", v.PublicKey); err != nil {
		return err
	}
	report, err := run(ctx, v.environment(), "", "rpmkeys", "--dbpath", db, "--checksig", "--verbose", file)
	if _, missing := errors.AsType[*MissingToolError](err); missing {
		return err
	}
	signatures := 0
	for line := range strings.Lines(report) {
		line = strings.TrimSpace(line)
		if !strings.Contains(strings.ToLower(line), "signature") {
			continue
		}
		if !strings.HasSuffix(line, ": OK") {
			return &ToolError{Tool: "rpmkeys", Cause: line, Output: report, err: err}
		}
		signatures++
	}
	if err == nil && signatures == 0 {
		return ErrUnsigned
	}
	return err
}

const debsigPolicy = `<?xml version="1.0"?>
<!DOCTYPE Policy SYSTEM "https://www.debian.org/debsig/1.0/policy.dtd">
<Policy xmlns="https://www.debian.org/debsig/1.0/">
  <Origin Name="signkit" id="%[1]s" Description="the key that was named"/>
  <Selection><Required Type="origin" File="key.gpg" id="%[1]s"/></Selection>
  <Verification MinOptional="0"><Required Type="origin" File="key.gpg" id="%[1]s"/></Verification>
</Policy>
`

func (v verification) deb(ctx context.Context, file string) error {
	members, err := run(ctx, v.environment(), "", "ar", "t", file)
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(members), originMember) {
		return ErrUnsigned
	}
	id, err := v.keyID(ctx)
	if err != nil {
		return err
	}
	keyring, err := v.keyring(ctx)
	if err != nil {
		return err
	}
	policies, keyrings := v.path("policies"), v.path("keyrings")
	for _, dir := range []string{filepath.Join(policies, id), filepath.Join(keyrings, id)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Rename(keyring, filepath.Join(keyrings, id, "key.gpg")); err != nil {
		return err
	}
	policy := fmt.Sprintf(debsigPolicy, id)
	if err := os.WriteFile(filepath.Join(policies, id, "signkit.pol"), []byte(policy), 0o644); err != nil {
		return err
	}
	environ, err := v.debsigEnvironment()
	if err != nil {
		return err
	}
	_, err = run(ctx, environ, "", "debsig-verify", "--policies-dir", policies, "--keyrings-dir", keyrings, file)
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
