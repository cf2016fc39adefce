package cli

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
			return a.exportPublicKey(cmd.Context(), args, output, binary)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&output, "output", "o", "", "write to `FILE` instead of standard output")
	flags.BoolVar(&binary, "binary", false, "without ASCII armor, as for apt's keyrings")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) exportPublicKey(ctx context.Context, args []string, output string, binary bool) error {
	list, done, err := a.sources(ctx, args, pkcs11Flags{})
	if err != nil {
		return err
	}
	defer done()
	key, err := a.servicePublicKey(ctx, list[0])
	if err != nil {
		return err
	}
	// What verifiers get must be the key that signs.
	if err := belongs(list[0], key); err != nil {
		return err
	}
	return a.givePublicKey(list[0], key, output, binary)
}

// publicKeyDocument is a public key for programs.
type publicKeyDocument struct {
	gpgRow
	PublicKey string `json:"publicKey"` // armored
}

// givePublicKey writes the key to a file or to standard output, where --json asks for a document.
func (a *app) givePublicKey(s *source, key *pgpkey.Key, output string, binary bool) error {
	if !a.ui.json {
		return a.writePublicKey(key, output, binary)
	}
	if isFile(output) {
		if err := a.writePublicKey(key, output, binary); err != nil {
			return err
		}
	}
	armored, err := key.Armor()
	if err != nil {
		return err
	}
	return a.ui.document(publicKeyDocument{rowOfEntry(s.entryWith(key)), string(armored)})
}

// isFile reports whether an output is not standard output.
func isFile(output string) bool { return output != "" && output != "-" }

func (a *app) writePublicKey(key *pgpkey.Key, output string, binary bool) error {
	encode := key.Armor
	if binary {
		encode = key.Binary
	}
	data, err := encode()
	if err != nil {
		return err
	}
	return a.writePublic(output, data)
}
