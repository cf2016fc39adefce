package cli

import (
	"errors"

	"github.com/spf13/cobra"

	gnupghome "signkit/gpgagent/home"
)

func newGPGCommand(a *app) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "gpg",
		Short: "Prepare gpg to sign with remote keys, and create public keys for it",
		Long: `Prepare gpg, and with it rpmsign, debsigs, git and Maven, to sign with keys that stay in
the signing service or behind a PKCS#11 module. One line in a script is enough:

  eval "$(signkit gpg init my-project/release-signing)"
  gpg -u "$GPG_KEY_ID" --detach-sign app.tar.gz`,
	})
	cmd.AddCommand(newGPGInitCommand(a), newGPGExportCommand(a), newGPGCreateCommand(a), newGPGExtendCommand(a),
		newGPGStatusCommand(a), newGPGWatchCommand(a), newGPGKillCommand(a))
	return cmd
}

// home is the GNUPGHOME that a flag or the environment names.
func (a *app) home(flag string) (*gnupghome.Home, error) {
	if flag == "" {
		flag = a.environment("GNUPGHOME")
	}
	if flag == "" {
		return nil, withHint(usageError("no GNUPGHOME is named"),
			`set GNUPGHOME, as eval "$(signkit gpg init)" does, or give --homedir`)
	}
	home, err := gnupghome.Find(a.absolute(flag))
	return home, gpgHints(err)
}

// gpgHints says what to do about the errors of gnupghome.
func gpgHints(err error) error {
	var missing *gnupghome.MissingError
	var path *gnupghome.PathError
	var real *gnupghome.RealKeyError
	var bridge *gnupghome.BridgeError
	var keyboxd *gnupghome.KeyboxdError
	switch {
	case errors.As(err, &missing):
		return withHint(withCode(exitMissingTool, err),
			"install GnuPG: packages gpg and gpg-agent on Debian and Ubuntu, gnupg2 on RHEL")
	case errors.As(err, &keyboxd):
		return withHint(withCode(exitMissingTool, err), gnupghome.KeyboxdHint)
	case errors.As(err, &path):
		return withHint(err, "set TMPDIR to a short folder that can be written, such as /tmp, or name one with --homedir")
	case errors.As(err, &real):
		return withHint(err, "it is never replaced; use another GNUPGHOME (leave out --homedir), or move that file away")
	case errors.As(err, &bridge):
		return withHint(err, "signkit gpg status shows what it logged; "+bridgeVariable+" names another program")
	}
	return err
}

const (
	bridgeProgram  = "signkit-scdaemon"
	bridgeVariable = "SIGNKIT_SCDAEMON"
)

// bridge finds the program that gpg-agent talks to.
func (a *app) bridge() (string, error) {
	if named := a.environment(bridgeVariable); named != "" {
		return a.absolute(named), nil
	}
	path, ok := installed(bridgeProgram)
	if !ok {
		err := errors.New("there is no " + bridgeProgram + " beside this program or in " + libraryDirectory)
		return "", withHint(withCode(exitMissingTool, err), bridgeVariable+" names another place")
	}
	return path, nil
}

func newGPGKillCommand(a *app) *cobra.Command {
	var homedir string
	cmd := &cobra.Command{
		Use:   "kill",
		Short: "End the agent, and remove the GNUPGHOME if signkit gpg init made it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := a.home(homedir)
			if err != nil {
				return err
			}
			return home.End(cmd.Context())
		},
	}
	homedirFlag(cmd, &homedir, "`DIR`: the GNUPGHOME (default: $GNUPGHOME)")
	return cmd
}

func homedirFlag(cmd *cobra.Command, value *string, usage string) {
	cmd.Flags().StringVar(value, "homedir", "", usage)
	cobra.CheckErr(cmd.MarkFlagDirname("homedir"))
}
