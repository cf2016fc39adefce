package artifact

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// OpenPGP is a key that gpg can sign with.
type OpenPGP struct {
	Home        string // GNUPGHOME
	Fingerprint string // 40 hex digits
	PublicKey   string // path of the transferable public key, armored
}

// X509 is a key on a PKCS#11 token, with its certificates.
type X509 struct {
	Key    string              // CKA_LABEL: PROJECT/POLICY
	Chain  []*x509.Certificate // leaf first
	Module string              // path of the PKCS#11 module
	TSA    []string            // RFC 3161 time-stamp authorities, tried in this order; may be empty
	CAFile string              // roots for the authorities' TLS besides the system's, PEM; may be empty
}

// Signer signs files. A kind whose key is nil cannot be signed.
type Signer struct {
	OpenPGP *OpenPGP
	X509    *X509
	Environ []string // of the tools, as os.Environ
	Replace bool     // take other signatures away first, where the format can hold several
}

// Output is a file that signing made: it lies at Path and is to be called Name, beside the
// signed file or in the folder of results.
type Output struct {
	Path, Name string
}

// Sign signs the file and puts what it made into the folder dir, which must be empty. The
// file itself is not touched. Nothing is verified yet: see Verifier.
func (s *Signer) Sign(ctx context.Context, kind Kind, file, dir string) ([]Output, error) {
	if kind.UsesOpenPGP() && s.OpenPGP == nil {
		return nil, errors.New("no OpenPGP key to sign with")
	}
	if !kind.UsesOpenPGP() && s.X509 == nil {
		return nil, errors.New("no key with a certificate to sign with")
	}
	name := filepath.Base(file)
	switch kind {
	case RPM:
		return s.inPlace(file, dir, func(path string) error { return s.signRPM(ctx, path) })
	case Deb:
		return s.inPlace(file, dir, func(path string) error { return s.signDeb(ctx, path) })
	case Jar:
		return s.inPlace(file, dir, func(path string) error { return s.signJar(ctx, path, dir) })
	case Authenticode:
		return s.signAuthenticode(ctx, file, dir)
	case AptRelease:
		return s.signAptRelease(ctx, file, dir)
	case YumIndex, Plain:
		return s.gpg(ctx, file, dir, name+".asc", "--armor", "--detach-sign")
	case CMS:
		return s.signCMS(ctx, file, dir)
	}
	return nil, fmt.Errorf("unknown kind %q", kind)
}

// inPlace lets a tool that changes its input work on a copy.
func (s *Signer) inPlace(file, dir string, sign func(path string) error) ([]Output, error) {
	name := filepath.Base(file)
	path := filepath.Join(dir, name)
	if err := copyFile(file, path); err != nil {
		return nil, err
	}
	if err := sign(path); err != nil {
		return nil, err
	}
	return []Output{{path, name}}, nil
}

// copyFile copies content and permissions.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	// The umask must not take away what the original allows.
	if err := out.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	return out.Close()
}
