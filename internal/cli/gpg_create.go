package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"signkit/internal/pgpkey"
)

// newKeyOptions are the flags of gpg create.
type newKeyOptions struct {
	name, email, expires, output string
	pkcs11                       pkcs11Flags
}

func newGPGCreateCommand(a *app) *cobra.Command {
	var o newKeyOptions
	cmd := &cobra.Command{
		Use:   "create [PROJECT/POLICY] --output FILE",
		Short: "Create the GPG public key of a key pair that has none",
		Long: `Create a GPG public key (user ID, self-signature, expiry date) for a key pair that has none:
one of a policy with an X.509 certificate, or one behind a PKCS#11 module. The remote key
signs it, once. Keep the file: "signkit gpg init --public-key FILE" signs with it, and
whoever verifies needs it.

The creation time is part of the fingerprint. It is taken from FILE if FILE already holds
this key, otherwise from the start of the certificate's validity; a key without a certificate
gets the current time. So a second run gives the same fingerprint, for a key without a
certificate only if the file was kept.`,
		Example: `  signkit gpg create my-project/release-signing --output release.asc \
    --name 'My Project' --email release@example.com --expires 2y`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: func(cmd *cobra.Command, args []string) error {
			end, err := parseExpiry(o.expires, time.Now())
			if err != nil {
				return err
			}
			return a.createGPGKey(cmd.Context(), &o, end, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.name, "name", "", "`NAME` in the user ID (default: PROJECT POLICY)")
	flags.StringVar(&o.email, "email", "", "`ADDRESS` in the user ID (default: POLICY@PROJECT)")
	flags.StringVar(&o.expires, "expires", "1y", "`WHEN` the key expires: 2y, 18m, 90d, a date, never")
	flags.StringVarP(&o.output, "output", "o", "", "write to `FILE`")
	o.pkcs11.add(cmd)
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) createGPGKey(ctx context.Context, o *newKeyOptions, end time.Time, args []string) error {
	if o.output == "" {
		return withHint(usageError("no --output"),
			"the file must be kept: it has the time of creation, which the fingerprint depends on")
	}
	list, done, err := a.sources(ctx, args, o.pkcs11)
	if err != nil {
		return err
	}
	defer done()
	s := list[0]
	if s.isGPG() {
		return withHint(usageError("%s already has a GPG public key in the service", s.id()), "signkit gpg export downloads it")
	}
	options, err := a.keyOptions(o, s, end)
	if err != nil {
		return err
	}
	key, err := pgpkey.Create(ctx, s.signer, options)
	if err != nil {
		return err
	}
	return a.keepPublicKey(s, key, o.output)
}

func (a *app) keyOptions(o *newKeyOptions, s *source, end time.Time) (pgpkey.Options, error) {
	created, err := a.creationTime(s, o.output)
	if err != nil {
		return pgpkey.Options{}, err
	}
	name, email := o.name, o.email
	if s.key != nil && name == "" {
		name = s.name.Project + " " + s.name.Policy
	}
	if s.key != nil && email == "" {
		email = s.name.Policy + "@" + s.name.Project
	}
	if name == "" && email == "" {
		return pgpkey.Options{}, usageError("no --name and no --email")
	}
	return pgpkey.Options{Name: name, Email: email, Created: created, Expires: end}, nil
}

// creationTime is that of the key in the output file, of the certificate, or now.
func (a *app) creationTime(s *source, output string) (time.Time, error) {
	data, err := os.ReadFile(a.absolute(output))
	if err == nil {
		old, err := pgpkey.Parse(data)
		if err != nil {
			err = fmt.Errorf("--output %s exists and is not a GPG public key: %w", output, err)
			return time.Time{}, withHint(err, "name another file")
		}
		if err := belongs(s, old); err != nil {
			return time.Time{}, withHint(fmt.Errorf("--output %s exists: %w", output, err), "name another file")
		}
		return old.Created(), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, fmt.Errorf("--output: %w", err)
	}
	if begin := s.notBefore(); !begin.IsZero() {
		return begin, nil
	}
	return time.Now().UTC().Truncate(time.Second), nil
}

// keepPublicKey writes the key and says, for people or for programs, which one it is.
func (a *app) keepPublicKey(s *source, key *pgpkey.Key, output string) error {
	if err := belongs(s, key); err != nil {
		return err
	}
	if err := a.givePublicKey(s, key, output, false); err != nil {
		return err
	}
	if isFile(output) && !a.ui.json {
		a.ui.line("%s", key.Fingerprint())
	}
	return nil
}
