package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"signkit/internal/artifact"
)

// stampVariable names time-stamp authorities, separated by blanks.
const stampVariable = "SIGNKIT_TSA_URL"

func newTSACommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "tsa [URL…]",
		Short: "Print the first time-stamp authority that responds now",
		Long: `Try time-stamp authorities (RFC 3161) in turn, and print the address of the first that
returns a time-stamp. A busy one is retried for a few seconds.

This is for tools that use a single authority after they have signed: if it fails then, a
signature was wasted. signkit sign does not need it.`,
		Example: `  jarsigner -tsa "$(signkit tsa http://timestamp.example.com http://stamps.example.org)" …`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = strings.Fields(a.environment(stampVariable))
			}
			if len(args) == 0 {
				return withHint(usageError("no time-stamp authority is named"), "give its URL, or set "+stampVariable)
			}
			authorities, err := a.stampAuthorities(args)
			if err != nil {
				return err
			}
			first, err := authorities.First(cmd.Context())
			if err != nil {
				return withHint(withCode(exitUnavailable, err), "name another authority")
			}
			a.ui.line("%s", first)
			return nil
		},
	}
}

// stampAuthorities are those with the addresses urls; nil if there are none.
func (a *app) stampAuthorities(urls []string) (*artifact.Authorities, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	authorities, err := artifact.NewAuthorities(urls, cfg.CAFile)
	if err != nil {
		return nil, withCode(exitSettings, fmt.Errorf("time-stamps: %w", err))
	}
	if authorities != nil {
		authorities.Warn = func(err error) { a.ui.warning("%v", err) }
	}
	return authorities, nil
}
