package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	gnupghome "signkit/gpgagent/home"
)

// gpgWatch is one call of gpg watch. The hidden flags are for the processes that stay.
type gpgWatch struct {
	homedir string
	pid     int
	start   string // of the process: this one waits
	atEOF   bool   // the homes come by standard input
}

func newGPGWatchCommand(a *app) *cobra.Command {
	var w gpgWatch
	cmd := &cobra.Command{
		Use:   gnupghome.WatchWord,
		Short: "End the agent when a process ends, for whatever reason",
		Long: `Start a process that waits for another one to end, even by SIGKILL, and then does what
"signkit gpg kill" does. It holds no token. The lines of "signkit gpg init" call it for
the shell that evaluates them. For a GNUPGHOME of your own (--homedir), and if each step
is a shell of its own (--github-env), nothing is watched unless you ask:

  signkit gpg watch --pid "$PPID"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if w.atEOF {
				return endHomesAtEOF(cmd.Context())
			}
			return a.watchGPG(cmd.Context(), &w)
		},
	}
	flags := cmd.Flags()
	homedirFlag(cmd, &w.homedir, "`DIR`: the GNUPGHOME (default: $GNUPGHOME)")
	flags.IntVar(&w.pid, "pid", 0, "wait for the end of process `PID` (default: the one that calls this)")
	flags.StringVar(&w.start, "started", "", "")
	flags.BoolVar(&w.atEOF, "at-eof", false, "")
	for _, name := range []string{"started", "at-eof"} {
		cobra.CheckErr(flags.MarkHidden(name))
	}
	return cmd
}

// watchGPG starts the process that waits, or is it.
func (a *app) watchGPG(ctx context.Context, w *gpgWatch) error {
	home, err := a.home(w.homedir)
	if err != nil {
		return err
	}
	if w.start != "" {
		endOnSignals()
		return home.EndWith(ctx, gnupghome.Maker{PID: w.pid, Start: w.start})
	}
	pid := w.pid
	if pid == 0 {
		pid = os.Getppid()
	}
	maker, err := gnupghome.FindMaker(pid)
	if err != nil {
		return withHint(withCode(exitUsage, err), "--pid names the process that signs")
	}
	return home.Detach("gpg", gnupghome.WatchWord, "--homedir", home.Dir,
		"--pid", strconv.Itoa(maker.PID), "--started", maker.Start)
}

// endHomesAtEOF is the other end of a gnupghome.Watcher. What ends the process before it, at a terminal or by a
// runner that tells every process to end, must not end this one before its work.
func endHomesAtEOF(ctx context.Context) error {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	return gnupghome.EndAtEOF(context.WithoutCancel(ctx), os.Stdin)
}

// endOnSignals undoes what main does about signals.
func endOnSignals() { signal.Reset(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM) }

// watched starts a process that ends the homes of this one if it is killed. Where that cannot be, signing goes on.
func (a *app) watched() *gnupghome.Watcher {
	watcher, err := gnupghome.StartWatcher("gpg", gnupghome.WatchWord, "--at-eof")
	if err != nil {
		a.ui.warning("%v", err)
		return nil
	}
	return watcher
}

// makeWatchedHome makes a temporary GNUPGHOME that a watcher knows before there is an agent in it.
func (a *app) makeWatchedHome(watcher *gnupghome.Watcher) (*gnupghome.Home, error) {
	home, err := a.makeHome("")
	if err != nil || watcher == nil {
		return home, err
	}
	if err := watcher.Add(home); err != nil {
		return nil, errors.Join(err, home.End(context.Background()))
	}
	return home, nil
}
