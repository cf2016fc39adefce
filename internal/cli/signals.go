package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// endedBySignals is a context that ends with the signals that ask a process to end, so that what was begun is taken away again.
// Who ignores SIGHUP (nohup) goes on ignoring it.
//
// SIGPIPE ends nothing by itself: it also comes from a connection that the service has closed, or a tool that reads no
// further. What it means for our own output is said by the write that failed (see stream).
func endedBySignals() (context.Context, context.CancelFunc) {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	// Not signal.Ignore, which the tools would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return signal.NotifyContext(context.Background(), signals...)
}

// stream is a standard stream that somebody else may close: when nobody reads it any more, the command is to end as if a
// signal had told it to.
type stream struct {
	file *os.File
	end  context.CancelFunc

	mu  sync.Mutex
	err error // of the first write that failed
}

func (s *stream) Write(data []byte) (int, error) {
	n, err := s.file.Write(data)
	if err != nil {
		s.mu.Lock()
		if s.err == nil {
			s.err = err
		}
		s.mu.Unlock()
	}
	if errors.Is(err, syscall.EPIPE) {
		s.end()
	}
	return n, err
}

// Fd lets isTerminal ask what it is.
func (s *stream) Fd() uintptr { return s.file.Fd() }

// failure says that not all of what was asked for was written.
func (s *stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return nil
	}
	err := fmt.Errorf("writing to standard output: %w", s.err)
	if errors.Is(err, syscall.EPIPE) {
		return withCode(exitInterrupted, err)
	}
	return err
}
