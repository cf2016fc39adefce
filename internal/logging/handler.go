package logging

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"
)

// handler is the slog.Handler: it turns a record into text and hands it to the sinks
// it shares with the handlers derived from it.
type handler struct {
	out    *sinks
	prefix string // "group.group." before each key
	attrs  string // " key=value" of the logger's own attributes, already formatted
}

// sinks are the two places a record goes to.
type sinks struct {
	redactor     *Redactor
	consoleLevel Level
	fileLevel    Level
	file         *rotatingFile // nil: no file

	mu      sync.Mutex // one record at a time on the console
	console io.Writer  // nil: no console

	fileMu     sync.Mutex
	fileFailed bool // the failure in progress has been reported
}

// Enabled reports whether either sink takes records of that level.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return h.out.consoleLevel.takes(level) || h.out.fileLevel.takes(level)
}

// Handle writes the record to every sink that wants it. It never fails: a caller could
// do nothing about it.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	text := appendEscaped(nil, h.out.redactor.Redact(r.Message))
	text = append(text, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		text = appendAttr(text, h.prefix, a, h.out.redactor)
		return true
	})
	h.out.write(r.Time, r.Level, withoutCommands(h.out.redactor.Redact(shorten(string(text)))))
	return nil
}

// WithAttrs returns a handler that adds the attributes to each record.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	text := []byte(h.attrs)
	for _, a := range attrs {
		text = appendAttr(text, h.prefix, a, h.out.redactor)
	}
	return &handler{out: h.out, prefix: h.prefix, attrs: string(text)}
}

// WithGroup returns a handler that puts "name." before the keys that follow.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{out: h.out, prefix: h.prefix + name + ".", attrs: h.attrs}
}

func (s *sinks) write(at time.Time, level slog.Level, text string) {
	if s.consoleLevel.takes(level) {
		s.toConsole(level, text)
	}
	if s.fileLevel.takes(level) {
		s.toFile(at, level, text)
	}
}

// toConsole writes "signkit: error: message key=value".
func (s *sinks) toConsole(level slog.Level, text string) {
	if s.console == nil {
		return
	}
	line := "signkit: " + levelName(level) + ": " + text + "\n"
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.WriteString(s.console, line) // there is no other place to complain
}

// toFile writes "2024-05-01T12:00:00.123Z error 4711 message key=value".
func (s *sinks) toFile(at time.Time, level slog.Level, text string) {
	if s.file == nil {
		return
	}
	if at.IsZero() {
		at = time.Now()
	}
	line := at.UTC().AppendFormat(make([]byte, 0, len(text)+64), "2006-01-02T15:04:05.000Z")
	line = append(append(append(line, ' '), levelName(level)...), ' ')
	line = append(strconv.AppendInt(line, int64(os.Getpid()), 10), ' ')
	line = append(append(line, text...), '\n')
	s.fileOutcome(s.file.write(line))
}

// fileOutcome reports the first failure of a row of failures on the console.
func (s *sinks) fileOutcome(err error) {
	s.fileMu.Lock()
	first := err != nil && !s.fileFailed
	s.fileFailed = err != nil
	s.fileMu.Unlock()
	if first && s.consoleLevel.takes(slog.LevelError) {
		s.toConsole(slog.LevelError, "the log file cannot be written; signing goes on without it"+
			string(appendAttr(nil, "", slog.Any("error", err), s.redactor)))
	}
}

// Close closes the file; records that follow go to the console alone.
func (s *sinks) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.close()
}
