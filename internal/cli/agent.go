package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"signkit/internal/agent"
	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/logging"
	"signkit/internal/signpath"
	"signkit/internal/version"
)

// agentFlags are common to signkit run and signkit agent.
type agentFlags struct {
	keys          []string
	maxSignatures int
	events        string
	keep          bool // events, for a manifest: what serves for months keeps none
}

func (f *agentFlags) add(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.keys, "key", nil, "`PROJECT/POLICY` that may be used; repeatable (default: what the settings name)")
	flags.IntVar(&f.maxSignatures, "max-signatures", 0, "sign at most `N` times (default: no bound)")
	flags.StringVar(&f.events, "events", "", "write each signature and failure to `FILE` as a line of JSON; - is standard output")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("key", a.completeKeys))
}

func newAgentCommand(a *app) *cobra.Command {
	var f agentFlags
	var socket string
	var uids []int
	var idle time.Duration
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Sign for the programs of other containers or users, which have no token",
		Long: `Do what "signkit run" does for its command for whoever has the socket, until a signal
ends it: for a sidecar that alone has the token. It prints the line that programs need,
export SIGNKIT_AGENT=PATH, when it serves. Beside the socket there is a second one,
PATH.rest, for gpg's bridge and signkit itself.

Programs of the same user are served, and those of users that --allow-uid names, who must
be able to reach the socket's folder. They take an agent of their own user, or of root.`,
		Example: `  signkit agent --socket /run/signkit/agent --key my-project/release --allow-uid 1000`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			place := agent.ListenPrivate
			if socket != "" {
				place = func() (*agent.Sockets, error) { return agent.Listen(a.absolute(socket), len(uids) > 0) }
			}
			job, err := a.startAgent(cmd.Context(), &f, place, uids...)
			if err != nil {
				return err
			}
			a.ui.line("export %s=%s", config.AgentVariable, shellQuote(job.sockets.Path()))
			job.wait(cmd.Context(), idle)
			_, err = job.end()
			return err
		},
	}
	f.add(a, cmd)
	flags := cmd.Flags()
	flags.StringVar(&socket, "socket", "", "`PATH` of the socket (default: in a new folder that nobody else can enter)")
	flags.IntSliceVar(&uids, "allow-uid", nil, "serve the user with this `UID` as well; repeatable")
	flags.DurationVar(&idle, "idle-timeout", 0, "end when nobody has asked for anything for `TIME`, such as 30m (default: never)")
	cmd.AddCommand(newAgentStatusCommand(a))
	return cmd
}

// agentJob is an agent that serves.
type agentJob struct {
	settings *config.Config
	agent    *agent.Agent
	sockets  *agent.Sockets
	keys     []*signpath.Key // that were named, by flags or settings; none: all may be used
	events   *eventLog

	stop  func()
	ended chan error
}

// startAgent makes an agent that serves at once, and knows its keys.
func (a *app) startAgent(ctx context.Context, f *agentFlags, place func() (*agent.Sockets, error), uids ...int) (*agentJob, error) {
	names, err := a.agentKeys(f)
	if err != nil {
		return nil, err
	}
	client, err := a.agentClient()
	if err != nil {
		return nil, err
	}
	events, err := a.openEvents(f.events, f.keep)
	if err != nil {
		return nil, err
	}
	record := event.To(events.add, event.Append(a.settings.Events, 0, a.log(a.settings)))
	job := &agentJob{settings: a.settings, events: events, ended: make(chan error, 1)}
	job.agent = agent.New(agent.Options{Config: a.settings, Client: client, Logger: a.log(a.settings), Redact: a.ui.redactor.Redact,
		Console: a.toolConsole, Keys: names, MaxSignatures: f.maxSignatures, AllowUIDs: uids, Record: record})
	if err := job.readKeys(ctx, names); err != nil {
		return nil, errors.Join(err, events.close())
	}
	if job.sockets, err = place(); err != nil {
		return nil, errors.Join(err, events.close())
	}
	// The signals that end this process are the command's first, which may still sign.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	job.stop = stop
	go func() { job.ended <- job.agent.Serve(serving, job.sockets) }()
	return job, nil
}

// agentParallel is how many signatures an agent asks for at the same time, where the settings do not say: as many as the
// bridge of gpg, since all tools of a job share it.
const agentParallel = 16

func (a *app) agentClient() (*signpath.Client, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if cfg.Source("SIGNKIT_MAX_PARALLEL") == "default" {
		cfg.MaxParallel = agentParallel // nobody has made a client of it yet
	}
	return a.client()
}

// agentKeys are the keys that flags, or else the settings, name.
func (a *app) agentKeys(f *agentFlags) ([]string, error) {
	if f.maxSignatures < 0 {
		return nil, usageError("--max-signatures: %d is no number of signatures", f.maxSignatures)
	}
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, key := range f.keys {
		name, err := parseKeyName(key)
		if err != nil {
			return nil, err
		}
		names = append(names, name.String())
	}
	if len(names) == 0 && cfg.ProjectSlug != "" && cfg.SigningPolicySlug != "" {
		names = []string{cfg.ProjectSlug + "/" + cfg.SigningPolicySlug}
	}
	return names, nil
}

// readKeys asks for the keys that were named, so that a wrong name is known before anything is done.
func (j *agentJob) readKeys(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	keys, err := j.agent.Keys(ctx)
	if err != nil {
		return err
	}
	j.keys = keys
	for _, name := range names {
		found := false
		for _, key := range keys {
			found = found || key.ID() == name
		}
		if !found {
			return noPolicy(name)
		}
	}
	return nil
}

// wait returns when ctx ends, the agent fails, or nobody has used it for the idle time.
func (j *agentJob) wait(ctx context.Context, idle time.Duration) {
	var look <-chan time.Time // never, where there is no idle time
	if idle > 0 {
		ticker := time.NewTicker(max(min(idle/10, time.Second), 10*time.Millisecond))
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-j.ended:
			j.ended <- err
			return
		case <-look:
			if j.agent.Idle() >= idle {
				return
			}
		}
	}
}

// end ends the agent and takes its sockets away.
func (j *agentJob) end() (agent.Totals, error) {
	j.stop()
	err := <-j.ended
	return j.agent.Totals(), errors.Join(err, j.sockets.Close(), j.events.close())
}

// toolConsole is a logger for what concerns one tool: it writes where the tool itself does.
func (a *app) toolConsole(stderr *os.File) *slog.Logger {
	level := a.settings.Log.ConsoleLevel
	if a.settings.Source("SIGNPATH_LOG_CONSOLE_LEVEL") == "default" {
		level = logging.Error
	}
	console, _, _ := logging.New(logging.Options{ // without a file, nothing can fail
		ConsoleLevel: level, Console: logging.NewBoundedWriter(stderr, consoleLimit), Redactor: a.ui.redactor})
	return console
}

// consoleLimit is how long a record waits for a console that nobody reads.
const consoleLimit = 2 * time.Second

// eventLog keeps what was signed, or writes it as it comes, where that is wanted.
type eventLog struct {
	to     io.Writer // nil: nowhere
	closer io.Closer
	keep   bool

	mu   sync.Mutex
	list []event.Event
	err  error // of the first write that failed
}

func (a *app) openEvents(name string, keep bool) (*eventLog, error) {
	switch name {
	case "":
		return &eventLog{keep: keep}, nil
	case "-":
		return &eventLog{to: a.ui.stdout, keep: keep}, nil
	}
	f, err := os.OpenFile(a.absolute(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("--events: %w", err)
	}
	return &eventLog{to: f, closer: f, keep: keep}, nil
}

func (l *eventLog) add(e event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keep {
		l.list = append(l.list, e)
	}
	if l.to == nil {
		return
	}
	line, err := event.Line(e)
	if err == nil {
		_, err = l.to.Write(line)
	}
	if l.err == nil {
		l.err = err
	}
}

func (l *eventLog) events() []event.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]event.Event{}, l.list...)
}

func (l *eventLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.err
	if l.closer != nil {
		err = errors.Join(err, l.closer.Close())
	}
	if err != nil {
		return fmt.Errorf("--events: not all was written: %w", err)
	}
	return nil
}

// jobManifest is what --manifest writes.
type jobManifest struct {
	Version  string        `json:"version"`
	Started  time.Time     `json:"started"`
	Ended    time.Time     `json:"ended"`
	ExitCode int           `json:"exitCode"` // of the command
	Events   []event.Event `json:"events"`
	agent.Totals
}

// writeJobManifest replaces the file as a whole.
func (a *app) writeJobManifest(name string, job *agentJob, began time.Time, status int) error {
	m := jobManifest{version.Version, began.UTC(), time.Now().UTC(), status, job.events.events(), job.agent.Totals()}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	data = append(logging.JSON(data), '\n')
	if err := replaceFile(a.absolute(name), data, 0o666&^umask()); err != nil {
		return withHint(fmt.Errorf("writing the manifest %s: %w", filepath.Base(name), err), "--manifest names the file")
	}
	return nil
}

func newAgentStatusCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say which keys the agent of SIGNKIT_AGENT has, and what it has done",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if cfg.Agent == "" {
				return withHint(withCode(exitSettings, errors.New("there is no agent here")),
					"signkit run sets "+config.AgentVariable+", and signkit agent prints it")
			}
			status, err := askAgent(cmd.Context(), cfg.Agent)
			if err != nil {
				return withHint(withCode(exitUnavailable, fmt.Errorf("the agent at %s: %w", cfg.Agent, err)),
					"an agent ends with the signkit run or signkit agent that made it")
			}
			return a.showAgent(status)
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// statusTime bounds the wait for an agent, which may have to ask the service for its keys.
const statusTime = 30 * time.Second

func askAgent(ctx context.Context, socket string) (*agent.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	return agent.Ask(ctx, socket)
}

func (a *app) showAgent(s *agent.Status) error {
	if a.ui.json {
		return a.ui.document(s)
	}
	keys := strings.Join(s.Keys, ", ")
	if s.KeysError != "" {
		keys = s.KeysError
	}
	signatures := fmt.Sprint(s.Signatures)
	if s.MaxSignatures > 0 {
		signatures += fmt.Sprintf(" of %d", s.MaxSignatures)
	}
	a.ui.table(nil, [][]string{
		{"agent", fmt.Sprintf("process %d, version %s", s.PID, s.Version)},
		{"keys", keys},
		{"signatures", signatures},
		{"failures", fmt.Sprint(s.Failures)},
	})
	return nil
}
