package main

import (
	"context"

	"github.com/spf13/cobra"

	"signkit/internal/pgpkey"
)

func newGPGExportCommand(a *app) *cobra.Command {
	var output string
	var binary bool
	cmd := &cobra.Command{
		Use:   "export [PROJECT/POLICY]",
		Short: "Download the GPG public key of a signing policy, for those who verify",
		Example: `  signkit gpg export my-project/release-signing --output release.asc
  signkit gpg export my-project/release-signing --binary --output /usr/share/keyrings/release.gpg`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := a.exportedKey(cmd.Context(), args)
			if err != nil {
				return err
			}
			return a.writePublicKey(key, output, binary)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&output, "output", "o", "", "write to `FILE` instead of standard output")
	flags.BoolVar(&binary, "binary", false, "without ASCII armor, as apt's keyrings are")
	return cmd
}

func (a *app) exportedKey(ctx context.Context, args []string) (*pgpkey.Key, error) {
	list, done, err := a.sources(ctx, args, pkcs11Flags{})
	if err != nil {
		return nil, err
	}
	defer done()
	key, err := a.servicePublicKey(ctx, list[0])
	if err != nil {
		return nil, err
	}
	// What verifiers get must be the key that signs.
	return key, belongs(list[0], key)
}

func (a *app) writePublicKey(key *pgpkey.Key, output string, binary bool) error {
	encode := key.Armor
	if binary {
		encode = key.Binary
	}
	data, err := encode()
	if err != nil {
		return err
	}
	return a.write(output, data)
}
