package artifact

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"signkit/internal/revocation"
)

// Verifier judges signatures with the tools' own verifiers and public material alone.
type Verifier struct {
	PublicKey    string              // path of OpenPGP keys, armored or binary; only their signatures count
	AllowExpired bool                // OpenPGP keys count beyond their end, for archives; revoked ones never
	Roots        string              // path of the root certificates that count, PEM; empty: none is named
	Chain        []*x509.Certificate // the signer's certificates, leaf first; nil: any signer with a chain to Roots
	SystemRoots  bool                // the machine's count where no Roots are named: of what was just signed here, with its time-stamp
	TimeStamp    bool                // a time-stamp must be there where the format has room for one
	Revocation   *revocation.Checker // asked about X.509 signers and their issuers; nil: revocation is not checked
	Environ      []string
	Cache        string        // folder for what is made once and serves for many files, one at a time; empty: nothing is kept
	Limit        time.Duration // how long the tools may take for one file; 0: as long as they want
	Lists        Lists

	// AlsoSigned takes whom each further signature beside a verified one claims to be of, where gpgv judges; may be nil. Nothing of
	// it is verified, and a file with two signatures may name the same twice.
	AlsoSigned func(signer string)

	InReleaseAlone bool // a Release without Release.gpg is judged by its InRelease: repositories may have no other signature
}

// ErrUnsigned is the error for a file that carries no signature at all.
var ErrUnsigned = errors.New("not signed")

// SignatureNames are the names of the signatures of a file, beside it; none for formats that
// hold them inside.
func SignatureNames(kind Kind, file string) []string {
	if beside := kind.format().beside; beside != nil {
		return beside(filepath.Base(file))
	}
	return nil
}

// Verify checks a file whose signatures, if they are files of their own, lie in the folder
// dir. ErrUnsigned: there is no signature. *NotComparedError: nobody was named who should have
// signed it. *MissingToolError: nothing is known. Anything else: a signature does not hold.
func (v *Verifier) Verify(ctx context.Context, kind Kind, file, dir string) error {
	f := kind.format()
	if f.verify == nil {
		return fmt.Errorf("unknown kind %q", kind)
	}
	for _, name := range v.wanted(kind, file, dir) {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %s is missing", ErrUnsigned, name)
		}
	}
	ctx, cancel := limited(ctx, v.Limit)
	defer cancel()
	scratch, err := os.MkdirTemp("", "signkit-verify-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	check := verification{v, scratch}
	if f.openPGP && v.PublicKey == "" {
		signers, err := f.signers(check, ctx, file, dir)
		if err != nil {
			return err
		}
		return &NotComparedError{Signers: signerNames(signers)}
	}
	return f.verify(check, ctx, file, dir)
}

// wanted are the names of the signatures that a file must have.
func (v *Verifier) wanted(kind Kind, file, dir string) []string {
	names := SignatureNames(kind, file)
	if kind == AptRelease && v.takesInRelease(dir) {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "Release.gpg" })
	}
	return names
}

// verification is one call of Verify with its folder for temporary files.
type verification struct {
	*Verifier
	scratch string
}

// environment keeps the user's keys, trust and language out of it.
func (v verification) environment() []string {
	return append(withoutCredentials(v.Environ), "GNUPGHOME="+v.scratch, "LC_ALL=C.UTF-8")
}

func (v verification) path(name string) string { return filepath.Join(v.scratch, name) }
