package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"signkit/internal/caller"
	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/logging"
	"signkit/internal/signpath"
	"signkit/pkcs11/token"
)

// consoleLimit is how long a record waits for a console that nobody reads.
const consoleLimit = 2 * time.Second

// newToken reads the settings and joins token, log and client. Settings that
// are wrong are no reason to end: the first call that needs them says so.
func newToken(directory string, host int, stdout *os.File) (t *token.Token, finish func()) {
	cfg, configError := config.Load(os.Environ(), directory)
	redactor := new(logging.Redactor)
	for _, secret := range cfg.Secrets() {
		redactor.Add(secret)
	}
	logger, closer := newLogger(cfg, redactor, stdout)
	for _, warning := range cfg.Warnings() {
		logger.Warn(warning)
	}
	process := sync.OnceValue(func() caller.Process { return caller.Describe(host, redactor.Redact) })
	go process() // now, while the host's command line is what it was
	record := event.Append(cfg.Events, 0, logger)
	t = token.New(token.Options{
		Config: cfg, ConfigError: configError, Logger: logger, Record: ofCaller(record, process),
		Connect: func(cfg *config.Config) (token.Source, error) {
			client, err := signpath.New(cfg, signpath.Options{Logger: logger, Redactor: redactor, Process: process, Record: record})
			if err != nil {
				return nil, err
			}
			return source{client}, nil
		},
	})
	return t, func() { _ = closer.Close() }
}

func newLogger(cfg *config.Config, redactor *logging.Redactor, stdout *os.File) (*slog.Logger, io.Closer) {
	console := os.Stderr
	if cfg.Log.ConsoleStream == "stdout" && stdout != nil {
		console = stdout
	} else if stdout != nil {
		_ = stdout.Close() // a tool's pipe must not stay open because of us
	}
	logger, closer, err := logging.New(logging.Options{
		ConsoleLevel: cfg.Log.ConsoleLevel, Console: logging.NewBoundedWriter(console, consoleLimit),
		FileLevel: cfg.Log.FileLevel, FileDirectory: cfg.Log.FileDirectory, Interface: "Cryptoki", Redactor: redactor,
	})
	if err != nil {
		logger.Error("no log file is written", "error", err)
	}
	return logger, closer
}

// ofCaller adds the one process that a token is for.
func ofCaller(record event.Recorder, process func() caller.Process) event.Recorder {
	if record == nil {
		return nil
	}
	return func(e event.Event) {
		p := process()
		e.Caller = event.CallerOf(&p)
		record(e)
	}
}

// source shows the client's policies as the token's keys.
type source struct{ client *signpath.Client }

func (s source) Keys(ctx context.Context, project, policy string) ([]token.Key, error) {
	keys, err := s.client.Policies(ctx, signpath.Filter{ProjectSlug: project, SigningPolicySlug: policy})
	if err != nil {
		return nil, err
	}
	list := make([]token.Key, len(keys))
	for i, key := range keys {
		list[i] = key
	}
	return list, nil
}
