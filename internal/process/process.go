// Package process is what each program of ours does first: it keeps the token to itself, reads the settings, and makes
// the log, the service's client and the description of who asks.
package process

import (
	"io"
	"log"
	"log/slog"
	"sync"

	"golang.org/x/sys/unix"

	"signkit/internal/caller"
	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/logging"
	"signkit/internal/signpath"
)

// Protect keeps the token in this process: no core dump, no debugger of the same user, and nothing of what net/http
// prints, headers and all, where GODEBUG says http2debug.
func Protect() {
	log.SetOutput(io.Discard)
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// Options say what differs from program to program.
type Options struct {
	Environ   []string // as os.Environ
	Directory string   // where relative paths in settings begin
	Caller    int      // the process that asks for signatures
	// Log makes the log, which works whatever the error.
	Log func(*config.Config, *logging.Redactor) (*slog.Logger, io.Closer, error)
}

// Process is a program that has begun.
type Process struct {
	Config   *config.Config // what can be read of the settings
	Redactor *logging.Redactor
	Log      *slog.Logger
	Caller   func() caller.Process // as it was first asked for

	logs io.Closer
}

// Start begins. Settings that are wrong in part are an error, and so is a log that cannot be written where it should be:
// what has begun works nevertheless, as far as it can, and must be closed. Warnings about settings are in the log.
func Start(o Options) (p *Process, settings, logs error) {
	p = &Process{Redactor: new(logging.Redactor)}
	p.Config, settings = Settings(o.Environ, o.Directory, p.Redactor)
	p.Log, p.logs, logs = o.Log(p.Config, p.Redactor)
	for _, warning := range p.Config.Warnings() {
		p.Log.Warn(warning)
	}
	p.Caller = sync.OnceValue(func() caller.Process { return caller.Describe(o.Caller, p.Redactor.Redact) })
	return p, settings, logs
}

// Settings reads the settings, and keeps their secrets out of what is redacted. What can be read of wrong ones is there, too.
func Settings(environ []string, directory string, redactor *logging.Redactor) (*config.Config, error) {
	cfg, err := config.Load(environ, directory)
	for _, secret := range cfg.Secrets() {
		redactor.Add(secret)
	}
	return cfg, err
}

// Client makes a client of the service with these settings, which need not be those that were read at the start. record gets
// its signatures and failures; nil: nobody does.
func (p *Process) Client(cfg *config.Config, record event.Recorder) (*signpath.Client, error) {
	return signpath.New(cfg, signpath.Options{Logger: p.Log, Redactor: p.Redactor, Process: p.Caller, Record: record})
}

// Record adds to events who asked; nil stays nil.
func (p *Process) Record(record event.Recorder) event.Recorder {
	if record == nil {
		return nil
	}
	return func(e event.Event) {
		asked := p.Caller()
		e.Caller = event.CallerOf(&asked)
		record(e)
	}
}

// Close ends the log.
func (p *Process) Close() { _ = p.logs.Close() }
