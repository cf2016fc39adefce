package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	gnupghome "signkit/gpgagent/home"
	"signkit/internal/agent"
	"signkit/internal/config"
	"signkit/internal/pgpkey"
	"signkit/internal/signpath"
)

// runFlags are those of signkit run.
type runFlags struct {
	agent            agentFlags
	requireSignature bool
	manifest         string
	publicFiles      []string
}

func newRunCommand(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG…]",
		Short: "Run a command that can sign and has no token",
		Long: `Run a command whose tools sign with remote keys, and that holds no credentials: they
stay in this process, which signs for it (an agent). The command gets SIGNKIT_AGENT; the
PKCS#11 module, gpg and signkit itself use it there. What the environment had of
credentials (the API token, its file, the JSON file, a TLS client certificate) is taken
out of it, and so is any variable whose value has the token.

With --key only the named keys can be used, seen or listed; without it, those that the
settings allow. With a GPG key among those that are named, GNUPGHOME and GPG_KEY_ID are
set as by "signkit gpg init". PKCS11_MODULE_PATH and PKCS11_PROVIDER_MODULE name the
module, unless they are set.

The exit code is the command's; 128 and the number of the signal that ended it; 127 where
it is not found. All that was made ends with the command. A shell that calls this has the
token in its own environment, where programs of the same user can read it: begin the line
with exec where it is the last one.`,
		Example: `  signkit run --key my-project/release -- make release
  signkit run --key my-project/gpg --require-signature -- rpmsign --addsign app.rpm
  exec signkit run --max-signatures 3 --manifest signatures.json -- ./release.sh`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("a command is missing")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.runJob(cmd.Context(), &f, args) },
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows COMMAND is its own
	f.agent.add(a, cmd)
	flags.BoolVar(&f.requireSignature, "require-signature", false, "fail where the command ends well and nothing was signed")
	flags.StringArrayVar(&f.publicFiles, "public-key", nil, "`FILE` with the GPG public key that signkit gpg create made of a key; repeatable")
	flags.StringVar(&f.manifest, "manifest", "", "write what was signed to `FILE`, as one JSON document, in any case")
	return cmd
}

// commandStatus ends this program as the command ended, which has said why.
type commandStatus int

func (s commandStatus) Error() string { return fmt.Sprintf("the command ended with %d", int(s)) }

// runJob is signkit run.
func (a *app) runJob(ctx context.Context, f *runFlags, args []string) error {
	path, err := findCommand(args[0])
	if err != nil {
		return err
	}
	public, err := a.readPublicKeys(ctx, f.publicFiles)
	if err != nil {
		return err
	}
	f.agent.keep = f.manifest != ""
	job, err := a.startAgent(ctx, &f.agent, agent.ListenPrivate)
	if err != nil {
		return err
	}
	began := time.Now()
	environ, endGPG, err := a.jobEnvironment(ctx, job, public)
	status := 0
	if err == nil {
		status, err = runCommand(ctx, path, args, environ)
	}
	if err != nil {
		status = exitCodeOf(err)
	}
	endGPG()
	totals, ended := job.end()
	err = errors.Join(err, ended)
	if f.manifest != "" {
		err = errors.Join(err, a.writeJobManifest(f.manifest, job, began, status))
	}
	if a.ui.terminal && !a.ui.json {
		a.ui.note("signed %d, failed %d, %s in the service", totals.Signatures, totals.Failures, totals.Service.Round(10*time.Millisecond))
	}
	switch {
	case status != 0 && err == nil:
		return commandStatus(status)
	case status != 0:
		return withCode(status, err)
	case err == nil && f.requireSignature && totals.Signatures == 0:
		return withHint(errors.New("the command ended well, and nothing was signed (--require-signature)"),
			"did it use the module, or gpg with GNUPGHOME as it was set?")
	}
	return err
}

// findCommand says, as a shell does, whether there is such a command.
func findCommand(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil || errors.Is(err, exec.ErrDot):
		return path, nil
	case errors.Is(err, os.ErrPermission):
		return "", withCode(exitNotExecutable, err)
	}
	return "", withCode(exitNotFound, err)
}

// runCommand runs the command in the place of this process, as far as others can tell: it has its
// descriptors, gets its signals, and does not outlive it.
func runCommand(ctx context.Context, path string, args, environ []string) (status int, err error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded()...)
	defer signal.Stop(signals)
	cmd := &exec.Cmd{Path: path, Args: args, Env: environ, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}}
	if err := cmd.Start(); err != nil {
		return 0, withCode(exitNotExecutable, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if (s == syscall.SIGINT || s == syscall.SIGQUIT) && atTerminal() {
				continue // which has told the command as well
			}
			_ = cmd.Process.Signal(s) // it may have ended
		case err := <-ended:
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				return 0, err
			}
			return exitStatus(cmd.ProcessState), nil
		}
	}
}

func forwarded() []os.Signal {
	list := []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}
	if !signal.Ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	return list
}

// atTerminal reports whether this process is in the foreground of a terminal, whose keys send signals to all that is there.
func atTerminal() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// exitStatus is what a shell would say.
func exitStatus(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// jobEnvironment is the command's: without credentials, and with what tools need to find the agent. endGPG ends the
// GNUPGHOME that is made where a GPG key was named.
func (a *app) jobEnvironment(ctx context.Context, job *agentJob, public []*pgpkey.Key) (environ []string, endGPG func(), err error) {
	endGPG = func() {}
	full, err := a.agentEnvironment()
	if err != nil {
		return nil, endGPG, err
	}
	environ = a.withoutCredentials(full, job.settings)
	environ = append(without(without(environ, config.AgentVariable), config.EventsVariable), config.AgentVariable+"="+job.sockets.Path())
	if module, ok := installed(moduleFile); ok {
		for _, name := range []string{"PKCS11_MODULE_PATH", "PKCS11_PROVIDER_MODULE"} {
			if lookup(environ, name) == "" {
				environ = append(without(environ, name), name+"="+module)
			}
		}
	}
	var keys []*signpath.Key
	for _, key := range job.keys {
		made := func(k *pgpkey.Key) bool { return k.IsOf(key.Public()) }
		if key.IsGPG() || slices.ContainsFunc(public, made) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return environ, endGPG, nil
	}
	home, fingerprint, endGPG, err := a.jobHome(ctx, keys, public, environ)
	if err != nil {
		return nil, endGPG, err
	}
	for _, variable := range gpgVariables(home, []string{fingerprint}) {
		name, _, _ := strings.Cut(variable, "=")
		environ = append(without(environ, name), variable)
	}
	return environ, endGPG, nil
}

// withoutCredentials leaves out what holds the token or names a file that does.
func (a *app) withoutCredentials(environ []string, cfg *config.Config) []string {
	for _, name := range config.CredentialVariables() {
		environ = without(environ, name)
	}
	token := cfg.APIToken.Reveal()
	if token == "" {
		return environ // another agent has it
	}
	var rest []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.Contains(value, token) {
			a.ui.warning("the variable %s holds the API token: the command does not get it", name)
			continue
		}
		rest = append(rest, entry)
	}
	return rest
}

// jobHome makes a GNUPGHOME whose agent and bridge run in the job's environment.
func (a *app) jobHome(ctx context.Context, keys []*signpath.Key, public []*pgpkey.Key, environ []string) (home *gnupghome.Home, fingerprint string, end func(), err error) {
	end = func() {}
	i := gpgInit{}
	bridge, err := a.prepareGPG(ctx, &i)
	if err != nil {
		return nil, "", end, err
	}
	i.publicKeys = public
	var joined []gnupghome.Key
	for _, key := range keys {
		s, err := sourceOf(key)
		if err != nil {
			return nil, "", end, err
		}
		key, err := a.gpgKey(ctx, &i, s)
		if err != nil {
			return nil, "", end, err
		}
		joined = append(joined, key)
	}
	watcher := a.watched()
	if home, err = a.makeWatchedHome(watcher); err != nil {
		watcher.Close()
		return nil, "", end, err
	}
	end = func() {
		if err := home.End(context.WithoutCancel(ctx)); err != nil {
			a.ui.warning("ending gpg-agent: %v", err)
		}
		watcher.Close()
	}
	if _, err := home.SetUp(ctx, gnupghome.Options{Bridge: bridge, Environ: environ, Keys: joined}); err != nil {
		return nil, "", end, gpgHints(fmt.Errorf("preparing gpg: %w", err))
	}
	return home, joined[0].Entry.Fingerprint, end, nil
}
