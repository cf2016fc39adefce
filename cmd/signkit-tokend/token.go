package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/logging"
	"signkit/internal/process"
	"signkit/internal/signpath"
	"signkit/pkcs11/token"
)

// consoleLimit is how long a record waits for a console that nobody reads.
const consoleLimit = 2 * time.Second

// newToken joins token, log and client. Settings that are wrong are no reason to end: the first call
// that needs them says so.
func newToken(directory string, host int, stdout *os.File) (t *token.Token, finish func()) {
	p, configError, logError := process.Start(process.Options{
		Environ: os.Environ(), Directory: directory, Caller: host,
		Log: func(cfg *config.Config, redactor *logging.Redactor) (*slog.Logger, io.Closer, error) {
			return newLogger(cfg, redactor, stdout)
		},
	})
	if logError != nil {
		p.Log.Error("no log file is written", "error", logError)
	}
	go p.Caller() // now, while the host's command line is what it was
	record := event.Append(p.Config.Events, 0, p.Log)
	t = token.New(token.Options{
		Config: p.Config, ConfigError: configError, Logger: p.Log, Record: p.Record(record),
		Connect: func(cfg *config.Config) (token.Source, error) {
			client, err := p.Client(cfg, record)
			if err != nil {
				return nil, err
			}
			return source{client}, nil
		},
	})
	return t, p.Close
}

func newLogger(cfg *config.Config, redactor *logging.Redactor, stdout *os.File) (*slog.Logger, io.Closer, error) {
	console := os.Stderr
	if cfg.Log.ConsoleStream == "stdout" && stdout != nil {
		console = stdout
	} else if stdout != nil {
		_ = stdout.Close() // a tool's pipe must not stay open because of us
	}
	return logging.New(logging.Options{
		ConsoleLevel: cfg.Log.ConsoleLevel, Console: logging.NewBoundedWriter(console, consoleLimit),
		FileLevel: cfg.Log.FileLevel, FileDirectory: cfg.Log.FileDirectory, Interface: "Cryptoki", Redactor: redactor,
	})
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
