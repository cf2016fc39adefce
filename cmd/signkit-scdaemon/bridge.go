package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"signkit/gpgagent/assuan"
	"signkit/gpgagent/card"
	"signkit/gpgagent/keyfile"
	"signkit/internal/config"
	"signkit/internal/logging"
	"signkit/internal/process"
)

// ending bounds the wait for calls under way, whose context has ended.
const ending = 3 * time.Second

// bridge is the card, the sources of its keys, and how gpg-agent reaches it.
type bridge struct {
	log     *slog.Logger
	sources *sources
	socket  *assuan.Socket // nil: there is none
	server  *assuan.Server[*card.Session]
	process *process.Process
}

// newBridge makes a bridge also of settings that are wrong: then the log and
// each signature say so. gpg-agent would take anything else for a missing card.
func newBridge(o options, environ []string) *bridge {
	p, configError, logError := process.Start(process.Options{
		// All that can be known of who asks: gpg-agent does not tell for whom it does.
		Environ: environ, Directory: "/", Caller: os.Getppid(),
		Log: func(cfg *config.Config, redactor *logging.Redactor) (*slog.Logger, io.Closer, error) {
			return newLogger(cfg, o.home, redactor)
		},
	})
	if logError != nil {
		p.Log.Error("a log file cannot be written", "error", logError)
	}
	if configError != nil {
		p.Log.Error("the settings are wrong; gpg will say \"Configuration error\"", "error", configError)
	}
	logger := p.Log
	b := &bridge{log: logger, process: p, sources: newSources(environ, p, newRecorder(p.Config, o.home, logger))}
	path := b.listen(o.home)
	c := card.New(card.Options{KeyList: filepath.Join(o.home, keyfile.Name), Open: b.sources.open, Socket: path, Log: logger, Record: p.Record(b.sources.record)})
	b.server = &assuan.Server[*card.Session]{
		Greeting: "signkit-scdaemon ready", Commands: c.Commands(), Session: c.Session, Log: logger}
	logger.Info("started", "home", o.home, "socket", path, "pid", os.Getpid(), "agent", os.Getppid())
	return b
}

// listen makes the socket for clients beyond the first. The GNUPGHOME comes
// first: when it is removed, what a killed bridge left goes with it.
func (b *bridge) listen(home string) (path string) {
	socket, err := assuan.Listen(home, os.TempDir(), "/tmp")
	if err != nil {
		b.log.Error("no socket: of several gpg at a time only one will be able to sign", "error", err)
		return ""
	}
	b.socket = socket
	return socket.Path()
}

// serve answers on the pipe and the socket until gpg-agent closes the pipe,
// somebody says KILLSCD, or ctx ends. Calls under way are cancelled then.
func (b *bridge) serve(ctx context.Context, in io.Reader, out io.Writer) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var ends sync.WaitGroup
	run := func(serve func() error) {
		ends.Go(func() {
			defer stop()
			if err := serve(); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, assuan.ErrStop) {
				b.log.Error("the connection to gpg-agent failed", "error", err)
			}
		})
	}
	run(func() error { return b.server.Serve(ctx, in, out) })
	if b.socket != nil {
		run(func() error { return b.server.ServeSocket(ctx, b.socket) })
	}
	<-ctx.Done()
	done := make(chan struct{})
	go func() {
		ends.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(ending):
		b.log.Warn("a call did not end when it was told to")
	}
	// No record says that this is the end: the GNUPGHOME may be being removed.
}

func (b *bridge) close() {
	if b.socket != nil {
		_ = b.socket.Close()
	}
	b.sources.close()
	b.process.Close()
}
