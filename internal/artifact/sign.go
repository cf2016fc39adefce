package artifact

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Signer signs files. A kind whose key is nil cannot be signed.
type Signer struct {
	OpenPGP *OpenPGP
	X509    *X509
	Environ []string // of the tools, as os.Environ
	Replace bool     // take the signatures that are there away
	Add     bool     // leave them, for formats that hold several
	Lists   Lists

	// Limit is how long the tools may take for one file, the service's answers included; 0: as long as they want.
	Limit time.Duration
}

// Output is a file that signing made: it lies at Path and is to be called Name, beside the
// signed file or in the folder of results.
type Output struct {
	Path, Name string
}

func (o Output) sameName(other Output) bool { return o.Name == other.Name }

// Sign signs the file and puts what it made into the folder dir, which must be empty. The
// file itself is not touched. Nothing is verified yet: see Verifier.
func (s *Signer) Sign(ctx context.Context, kind Kind, file, dir string) ([]Output, error) {
	f := kind.format()
	if f.openPGP && s.OpenPGP == nil {
		return nil, errors.New("no OpenPGP key to sign with")
	}
	if !f.openPGP && s.X509 == nil {
		return nil, errors.New("no key with a certificate to sign with")
	}
	if f.sign == nil {
		return nil, fmt.Errorf("unknown kind %q", kind)
	}
	ctx, cancel := limited(ctx, s.Limit)
	defer cancel()
	return f.sign(s, ctx, file, dir)
}

// inPlace lets a tool that changes its input work on a copy, under a name without anything that
// a tool could take for something else.
func inPlace(sign func(s *Signer, ctx context.Context, path string) error) func(*Signer, context.Context, string, string) ([]Output, error) {
	return func(s *Signer, ctx context.Context, file, dir string) ([]Output, error) {
		name := filepath.Base(file)
		path := filepath.Join(dir, "input")
		if err := copyFile(ctx, file, path); err != nil {
			return nil, err
		}
		if err := sign(s, ctx, path); err != nil {
			return nil, err
		}
		return []Output{{path, name}}, nil
	}
}
