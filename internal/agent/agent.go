// Package agent signs for all programs of one job, so that they need no credentials: PKCS#11 modules connect to
// one socket, each as to a token process of its own, and clients of the service to another one beside it. One
// signpath.Client makes what they ask for, with the keys that were named and no others.
package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"signkit/internal/caller"
	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/key"
	"signkit/internal/signpath"
)

// Options are what an agent is made of.
type Options struct {
	Config *config.Config
	Client *signpath.Client // of the credentials in Config
	Logger *slog.Logger
	Redact func(string) string // for command lines; nil: nothing to hide
	// Console makes a logger that writes to a program's own standard error; nil: all goes to Logger.
	Console func(*os.File) *slog.Logger

	Keys          []string         // PROJECT/POLICY; none: all that the settings allow
	MaxSignatures int              // 0: no bound
	AllowUIDs     []int            // users that are served besides this one
	Patience      time.Duration    // with a greeting or a request that has begun; 0: 30 s
	Record        event.Recorder   // gets each signature and each failure, before whoever asked; nil: nobody does
	Now           func() time.Time // nil: time.Now
}

// Agent serves one job.
type Agent struct {
	o      Options
	keys   *keyStore
	token  *config.Config // for the tokens: narrowed where one key was named
	budget budget
	tally  tally

	connections atomic.Int64
	nameless    atomic.Int64 // modules so far whose process is in another PID namespace
	last        atomic.Int64 // when the last sign of life was, in Unix nanoseconds
}

// New makes an agent that serves nobody yet. It asks nothing of the service.
func New(o Options) *Agent {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	if o.Redact == nil {
		o.Redact = func(s string) string { return s }
	}
	o.Keys = unique(o.Keys)
	a := &Agent{o: o, token: narrowed(o.Config, o.Keys)}
	a.budget.most = o.MaxSignatures
	a.keys = &keyStore{agent: a, client: o.Client, named: o.Keys,
		limit: signpath.Filter{ProjectSlug: o.Config.ProjectSlug, SigningPolicySlug: o.Config.SigningPolicySlug}}
	a.alive()
	return a
}

// unique are the names, each once: somebody may have named a key twice.
func unique(names []string) []string {
	var list []string
	for _, name := range names {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// narrowed are the settings for tokens: with one key, tools that name none find that one.
func narrowed(cfg *config.Config, keys []string) *config.Config {
	if len(keys) == 0 {
		return cfg
	}
	copied := *cfg
	copied.ProjectSlug, copied.SigningPolicySlug = "", ""
	if len(keys) == 1 {
		if id, err := key.ParseID(keys[0]); err == nil {
			copied.ProjectSlug, copied.SigningPolicySlug = id.Project, id.Policy
		}
	}
	return &copied
}

// Keys are the keys that can be used. They are read from the service once.
func (a *Agent) Keys(ctx context.Context) ([]*signpath.Key, error) {
	list, err := a.keys.list(ctx, "", "")
	keys := make([]*signpath.Key, len(list))
	for i, key := range list {
		keys[i] = key.Key
	}
	return keys, err
}

// Serve serves both sockets until ctx ends, and closes them. Calls under way are cancelled then. Several pairs can be served
// at the same time.
func (a *Agent) Serve(ctx context.Context, s *Sockets) error {
	ctx, stop := context.WithCancel(context.WithValue(ctx, recorderKey{}, event.To(a.o.Record, s.Record)))
	defer stop()
	var ends sync.WaitGroup
	var tokens, rest error
	ends.Go(func() {
		defer stop()
		tokens = a.serveTokens(ctx, s.tokens)
	})
	ends.Go(func() {
		defer stop()
		rest = a.serveREST(ctx, s.rest)
	})
	ends.Wait()
	return errors.Join(tokens, rest)
}

type recorderKey struct{}

// recorder gets what is done in this context; nil where nobody does.
func (a *Agent) recorder(ctx context.Context) event.Recorder {
	if record, ok := ctx.Value(recorderKey{}).(event.Recorder); ok {
		return record
	}
	return a.o.Record
}

// serves reports whether whoever connected is of a user that is served, and who it is.
func (a *Agent) serves(conn net.Conn) (pid int, ok bool) {
	peer, err := caller.Peer(conn)
	if err != nil {
		a.o.Logger.Warn("a connection was refused: it is not known whose it is", "error", err)
		return 0, false
	}
	uid := int(peer.Uid)
	if uid != os.Geteuid() && !slices.Contains(a.o.AllowUIDs, uid) {
		a.o.Logger.Warn("a connection was refused: it is another user's", "uid", uid)
		return 0, false
	}
	return int(peer.Pid), true
}

// withCaller says in the context who asks. It is described at once, while the command line is what it was.
func (a *Agent) withCaller(ctx context.Context, pid int) context.Context {
	if pid == 0 {
		return ctx // of another PID namespace
	}
	ctx = signpath.WithProgram(ctx, int64(pid))
	process := sync.OnceValue(func() caller.Process { return caller.Describe(pid, a.o.Redact) })
	go process()
	return caller.NewContext(ctx, process)
}

func (a *Agent) alive() { a.last.Store(a.o.Now().UnixNano()) }

// Idle is how long nobody has been connected, or has asked for anything.
func (a *Agent) Idle() time.Duration {
	if a.connections.Load() > 0 {
		return 0
	}
	return a.o.Now().Sub(time.Unix(0, a.last.Load()))
}

// connected counts a connection until the returned function is called.
func (a *Agent) connected() (ended func()) {
	a.connections.Add(1)
	a.alive()
	return func() {
		a.connections.Add(-1)
		a.alive()
	}
}
