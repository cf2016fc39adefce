package cli

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"signkit/gpgagent/keyfile"
	"signkit/internal/key"
	"signkit/internal/keygrip"
	"signkit/internal/p11key"
	"signkit/internal/pgpkey"
	"signkit/internal/signpath"
)

// source is a remote key for gpg: one of the service, or one behind a PKCS#11 module.
type source struct {
	signer  key.Signer
	public  crypto.PublicKey
	keygrip string

	name   keyName       // of the service's key
	key    *signpath.Key // nil for PKCS#11
	pkcs11 *keyfile.PKCS11
}

// id names the key as the list of a GNUPGHOME does.
func (s *source) id() string { return s.entry().ID() }

// entry has what is known without a public key file.
func (s *source) entry() keyfile.Entry {
	e := keyfile.Entry{Keygrip: s.keygrip, PKCS11: s.pkcs11}
	if s.key != nil {
		e.SignPath = &keyfile.SignPath{Project: s.name.Project, Policy: s.name.Policy}
	}
	return e
}

// entryWith also has what the public key says.
func (s *source) entryWith(public *pgpkey.Key) keyfile.Entry {
	e := s.entry()
	e.Fingerprint, e.Created, e.UserID = public.Fingerprint(), public.Created(), public.UserID()
	if end := public.Expires(); !end.IsZero() {
		e.Expires = &end
	}
	return e
}

// isGPG reports whether the service has a GPG public key of it.
func (s *source) isGPG() bool { return s.key != nil && s.key.IsGPG() }

// notBefore is when the key's certificate begins; zero without one.
func (s *source) notBefore() time.Time {
	if s.key == nil || s.key.Certificate() == nil {
		return time.Time{}
	}
	return s.key.Certificate().NotBefore
}

// pkcs11Flags choose a key behind a PKCS#11 module.
type pkcs11Flags struct{ module, token, key, pinFile string }

func (p *pkcs11Flags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&p.module, "pkcs11-module", "", "`PATH` of a PKCS#11 module that holds the key, instead of the service")
	flags.StringVar(&p.token, "token", "", "with --pkcs11-module: `LABEL` of the token")
	flags.StringVar(&p.key, "key", "", "with --pkcs11-module: label of the key, or its `ID` in hexadecimal")
	flags.StringVar(&p.pinFile, "pin-file", "", "with --pkcs11-module: `FILE` with the PIN")
}

// check finds flags that contradict each other.
func (p *pkcs11Flags) check(args []string) error {
	switch {
	case p.module == "" && (p.token != "" || p.key != "" || p.pinFile != ""):
		return usageError("--token, --key and --pin-file need --pkcs11-module")
	case p.module != "" && len(args) > 0:
		return withHint(usageError("both PROJECT/POLICY and --pkcs11-module are given"),
			"call signkit gpg init twice with the same --homedir for keys of both kinds")
	}
	return nil
}

// sources finds the keys that arguments, flags or settings name. The caller calls done.
func (a *app) sources(ctx context.Context, args []string, p pkcs11Flags) (list []*source, done func(), err error) {
	if err := p.check(args); err != nil {
		return nil, nil, err
	}
	if p.module != "" {
		return a.pkcs11Source(ctx, p)
	}
	if len(args) == 0 {
		args = []string{""} // the settings name it
	}
	for _, arg := range args {
		s, err := a.serviceSource(ctx, arg)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, s)
	}
	return list, func() {}, nil
}

func (a *app) serviceSource(ctx context.Context, arg string) (*source, error) {
	var args []string
	if arg != "" {
		args = []string{arg}
	}
	name, err := a.keyName(args)
	if err != nil {
		return nil, err
	}
	key, err := a.key(ctx, name)
	if err != nil {
		return nil, err
	}
	return sourceOf(key)
}

func sourceOf(key *signpath.Key) (*source, error) {
	grip, err := keygrip.Of(key.Public())
	if err != nil {
		return nil, fmt.Errorf("%s: gpg cannot use this key: %w", key.ID(), err)
	}
	name := keyName{Project: key.ProjectSlug(), Policy: key.PolicySlug()}
	return &source{signer: key, public: key.Public(), keygrip: grip, name: name, key: key}, nil
}

func (a *app) pkcs11Source(ctx context.Context, p pkcs11Flags) ([]*source, func(), error) {
	where := keyfile.PKCS11{Module: a.absolute(p.module), Token: p.token, Key: p.key, PINFile: a.absolute(p.pinFile)}
	module, err := p11key.Open(ctx, p11key.Options{Module: where.Module, Token: where.Token, Key: where.Key, PINFile: where.PINFile})
	if err != nil {
		return nil, nil, withHint(err, "check --pkcs11-module, --token, --key and --pin-file")
	}
	key, err := module.Find(ctx)
	if err == nil {
		var grip string
		if grip, err = keygrip.Of(key.Public()); err == nil {
			s := &source{signer: key, public: key.Public(), keygrip: grip, pkcs11: &where}
			return []*source{s}, func() { module.Close() }, nil // it was only read, or has signed
		}
	}
	return nil, nil, errors.Join(withHint(err, "check --token and --key"), module.Close())
}
