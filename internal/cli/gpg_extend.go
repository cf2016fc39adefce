package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"signkit/internal/pgpkey"
)

func newGPGExtendCommand(a *app) *cobra.Command {
	var file, expires, output string
	var pkcs11 pkcs11Flags
	cmd := &cobra.Command{
		Use:   "extend [PROJECT/POLICY]",
		Short: "Give a GPG public key a later expiry date, with the same fingerprint",
		Long: `Give a GPG public key a later expiry date, by a new self-signature of the remote key. The
fingerprint stays the same. FILE is replaced unless --output names another file. Without
--public-key, the service's public key is extended and written to standard output. Whoever
verifies needs the new public key; older signatures stay valid with it.`,
		Example:           `  signkit gpg extend my-project/release-signing --public-key release.asc --expires 2y`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: func(cmd *cobra.Command, args []string) error {
			end, err := parseExpiry(expires, time.Now())
			if err != nil {
				return err
			}
			if output == "" {
				output = file
			}
			return a.extendGPGKey(cmd.Context(), args, pkcs11, file, end, output)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "public-key", "", "`FILE` with the public key")
	flags.StringVar(&expires, "expires", "1y", "`WHEN` the key expires: 2y, 18m, 90d, a date, never")
	flags.StringVarP(&output, "output", "o", "", "write to `FILE`")
	pkcs11.add(cmd)
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) extendGPGKey(ctx context.Context, args []string, p pkcs11Flags, file string, end time.Time, output string) error {
	list, done, err := a.sources(ctx, args, p)
	if err != nil {
		return err
	}
	defer done()
	old, err := a.oldPublicKey(ctx, list[0], file)
	if err != nil {
		return err
	}
	data, err := old.Binary()
	if err != nil {
		return err
	}
	key, err := pgpkey.Extend(ctx, list[0].signer, data, end, time.Time{})
	if err != nil {
		return err
	}
	return a.keepPublicKey(list[0], key, output)
}

// oldPublicKey is that of the file, or of the service.
func (a *app) oldPublicKey(ctx context.Context, s *source, file string) (*pgpkey.Key, error) {
	if file == "" {
		return a.servicePublicKey(ctx, s)
	}
	key, err := a.readPublicKey(ctx, file)
	if err != nil {
		return nil, err
	}
	return key, belongs(s, key)
}
