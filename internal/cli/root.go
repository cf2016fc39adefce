package cli

import (
	"github.com/spf13/cobra"

	"signkit/internal/version"
)

// A verb is one file named after it (sign.go, certificate.go …) with
//
//	func newXxxCommand(a *app) *cobra.Command
//
// and one line in verbs below; that is all it takes. The rules of such a file:
//
//   - Flags are variables of the constructor; there are no package variables. More than eight
//     flags are two verbs, or a setting.
//   - RunE parses, calls and returns the error, in at most 20 lines. Nothing but main exits.
//   - Everything a person or a program reads goes through a.ui (ui.go). A verb whose output
//     programs read has --json (a.jsonFlag).
//   - Settings, the client and keys come from a (app.go): a.config, a.client, a.key.
//   - An error that a person can do something about carries hints: withHint(err, "set …"). Its
//     exit code is found in exit.go; withCode sets another one; usageError is a wrong call.
//   - The behaviour is a script, testdata/script/VERB-WHAT.txtar (script_test.go lists what
//     scripts can do).
func verbs() []func(*app) *cobra.Command {
	return []func(*app) *cobra.Command{
		newPoliciesCommand,
		newCertificateCommand,
		newSignHashCommand,
		newURICommand,
		newSignCommand,
		newRunCommand,
		newAgentCommand,
		newVerifyCommand,
		newTSACommand,
		newDoctorCommand,
		newGPGCommand,
		newVersionCommand,
	}
}

func newRootCommand(a *app) *cobra.Command {
	root := group(&cobra.Command{
		Use:           "signkit",
		Short:         "Sign with keys that stay in the signing service",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	})
	root.SetVersionTemplate("signkit {{.Version}}\n")
	root.SetIn(a.stdin)
	root.SetOut(a.ui.stdout)
	root.SetErr(a.ui.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHint(usageError("%w", err), cmd.CommandPath()+" --help shows the flags")
	})
	for _, newCommand := range verbs() {
		root.AddCommand(newCommand(a))
	}
	root.AddCommand(newExitCodesTopic())
	root.InitDefaultCompletionCmd()
	asUsageErrors(root)
	return root
}

// group is a command that only holds others: called alone it is a wrong call, where cobra
// would print its help and report success.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return withHint(usageError("%s: a command is missing", cmd.CommandPath()),
				cmd.CommandPath()+" --help lists them")
		}
		err := usageError("unknown command %q for %q", args[0], cmd.CommandPath())
		for _, name := range cmd.SuggestionsFor(args[0]) {
			err = withHint(err, "did you mean "+cmd.CommandPath()+" "+name+"?")
		}
		return withHint(err, cmd.CommandPath()+" --help lists the commands")
	}
	return cmd
}

// asUsageErrors lets a wrong number of arguments end with the exit code of a wrong call, in
// every command.
func asUsageErrors(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return withHint(usageError("%w", err), "usage: "+cmd.UseLine())
			}
			return nil
		}
	}
	for _, child := range cmd.Commands() {
		asUsageErrors(child)
	}
}
