package main

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
		Use:   "extend [PROJECT/POLICY] --public-key FILE",
		Short: "Give a GPG public key a later end, with the same fingerprint",
		Long: `Give a GPG public key a later end: a new self-signature by the remote key. The fingerprint
stays. FILE is replaced unless --output names another one. Those who verify need the new file;
what was signed before stays valid with it.`,
		Example:           `  signkit gpg extend my-project/release-signing --public-key release.asc --expires 2y`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: func(cmd *cobra.Command, args []string) error {
			end, err := parseExpiry(expires, time.Now())
			if err != nil {
				return err
			}
			if file == "" {
				return withHint(usageError("no --public-key"), "name the file that signkit gpg create or export has written")
			}
			if output == "" {
				output = file
			}
			return a.extendGPGKey(cmd.Context(), args, pkcs11, file, end, output)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "public-key", "", "`FILE` with the public key")
	flags.StringVar(&expires, "expires", "1y", "`WHEN` the key ends: 2y, 18m, 90d, a date, never")
	flags.StringVarP(&output, "output", "o", "", "write to `FILE`")
	pkcs11.add(cmd)
	return cmd
}

func (a *app) extendGPGKey(ctx context.Context, args []string, p pkcs11Flags, file string, end time.Time, output string) error {
	old, err := a.readPublicKey(file)
	if err != nil {
		return err
	}
	list, done, err := a.sources(ctx, args, p)
	if err != nil {
		return err
	}
	defer done()
	if err := belongs(list[0], old); err != nil {
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
