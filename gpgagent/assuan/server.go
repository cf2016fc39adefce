// Package assuan is the server side of the Assuan protocol, as gpg-agent speaks
// it with a smart-card daemon: lines over a pipe and over a Unix socket. It
// knows no command and no card.
//
// One goroutine serves one connection, and another one reads its lines, so that
// the client's leaving is seen while a command runs: it ends the command's
// context. Inquiries (questions to the client) are not supported.
//
// Specification: "Developing with Assuan", gnupg.org/documentation/manuals/assuan.
package assuan

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
)

// queued is how many lines of one client may wait. GnuPG waits for each answer
// before it goes on; a client that does not is read on only as these are done.
const queued = 64

// Command is one row of the command table.
type Command[S any] struct {
	Name string // in upper case
	// Run does the command for the connection whose state is S. What it writes into Call
	// comes before the OK or ERR line, which it must not write. An error that is, or
	// wraps, an Error or a Code becomes that ERR; ErrBye and ErrStop are OK with consequences.
	Run  func(S, context.Context, *Call) error
	Help string // one line: NAME [--option] ARGUMENT: what it does
}

// Server answers commands. Its fields are not changed once it serves.
type Server[S any] struct {
	Greeting string // after the first OK
	Commands []Command[S]
	Session  func() S // state of a new connection
	Log      *slog.Logger
}

// received is a line, or the error that stands for it.
type received struct {
	text string
	err  error
}

// Serve serves one connection: it greets, and answers until the client leaves
// (nil), a command says ErrStop (ErrStop), ctx ends, or out cannot be written. It
// may return before in has been read to its end; the caller closes it.
func (s *Server[S]) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	w := newWriter(out)
	w.line("OK " + escape(s.Greeting))
	if err := w.flush(); err != nil {
		return err
	}
	present, gone := context.WithCancel(ctx)
	defer gone()
	lines, done := make(chan received, queued), make(chan struct{})
	defer close(done)
	go func() {
		defer close(lines)
		defer gone()
		receive(newReader(in), lines, done)
	}()
	session := s.Session()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line, ok := <-lines:
			if !ok {
				return nil
			}
			if ended, err := s.answer(present, session, line, w); ended || err != nil {
				return err
			}
		}
	}
}

// receive passes lines on until the client leaves or done is closed.
func receive(r reader, lines chan<- received, done <-chan struct{}) {
	for {
		text, err := r.line()
		if err != nil && err != errLineTooLong {
			return // end of file; nothing else could be done about other errors
		}
		select {
		case lines <- received{text, err}:
		case <-done:
			return
		}
	}
}

// answer writes the one OK or ERR that belongs to a line.
func (s *Server[S]) answer(ctx context.Context, session S, line received, w *writer) (ended bool, err error) {
	if line.err == nil && isBlank(line.text) {
		return false, nil
	}
	call := parse(line.text, w)
	err = line.err
	if err == nil {
		err = s.run(ctx, session, call)
	}
	switch err {
	case nil:
		w.line("OK")
		return false, w.flush()
	case ErrBye:
		w.line("OK closing connection")
		return true, w.flush()
	case ErrStop:
		w.line("OK")
		_ = w.flush() // stopping, whether it was heard or not
		return true, ErrStop
	}
	code := codeOf(err)
	s.Log.Debug("command refused", "command", call.Name, "code", int(code), "error", err)
	w.line(fmt.Sprintf("ERR %d %s <SCD>", code.Number(), escape(code.Error())))
	return false, w.flush()
}

// isBlank reports whether a line is empty or a comment.
func isBlank(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#'
}

// run finds the row and runs it. A defect in a command is that command's error:
// if the server ended, gpg-agent would ask for a card in all its other calls.
func (s *Server[S]) run(ctx context.Context, session S, call *Call) (err error) {
	defer func() {
		if defect := recover(); defect != nil {
			s.Log.Error("internal error", "command", call.Name, "panic", fmt.Sprint(defect), "stack", string(debug.Stack()))
			err = General
		}
	}()
	for i := range s.Commands {
		if s.Commands[i].Name == call.Name {
			return s.Commands[i].Run(session, ctx, call)
		}
	}
	return UnknownCommand
}
