package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"signkit/internal/logging"
)

// Line is the event as it is written, with the line's end.
func Line(e Event) ([]byte, error) {
	line, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return append(logging.JSON(line), '\n'), nil
}

// Append is a recorder that appends to a file, which need not exist, or to a named pipe that somebody reads; nil
// where path is empty. Several processes can write to it. limit bounds a file, 0 not: when it is reached, the file becomes
// path.1. What cannot be written is logged, once: it is no reason not to sign.
func Append(path string, limit int64, log *slog.Logger) Recorder {
	if path == "" {
		return nil
	}
	var mu sync.Mutex
	var warned sync.Once
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if err := appendLine(path, limit, e); err != nil {
			warned.Do(func() { log.Warn("not every event is recorded", "error", err) })
		}
	}
}

// appendLine is one write(2), so that the lines of several processes do not mix. The file is opened for it each time: others
// may have moved it.
func appendLine(path string, limit int64, e Event) error {
	line, err := Line(e)
	if err != nil {
		return err
	}
	if info, err := os.Lstat(path); err == nil && limit > 0 && info.Size()+int64(len(line)) > limit {
		if err := os.Rename(path, path+".1"); err != nil {
			return err
		}
	}
	// Of a pipe that nobody reads it says so, and does not wait.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Close())
}

// Last reads the last events of a file, oldest first, as far as they are within its last length bytes. A file that is
// not there has none.
func Last(path string, length int64) ([]Event, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	begin := max(0, info.Size()-length)
	data, err := io.ReadAll(io.NewSectionReader(f, begin, info.Size()-begin))
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	return read(data), nil
}

// read leaves out what is no whole event, such as a line whose beginning was not read.
func read(data []byte) []Event {
	var list []Event
	for line := range bytes.Lines(data) {
		var e Event
		if json.Unmarshal(line, &e) == nil && !e.Time.IsZero() {
			list = append(list, e)
		}
	}
	return list
}
