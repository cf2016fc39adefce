package event

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestEventsOfSeveralWritersAreWholeLines: processes share a file, and each has a recorder of its own.
func TestEventsOfSeveralWritersAreWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	var writers sync.WaitGroup
	for range 8 {
		record := Append(path, 0, quiet())
		writers.Go(func() {
			for range 50 {
				record(Event{Time: time.Now(), Key: "demo/a", Error: strings.Repeat("long ", 500)})
			}
		})
	}
	writers.Wait()
	list, err := Last(path, 1<<30)
	if err != nil || len(list) != 400 {
		t.Errorf("%d events, %v", len(list), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestFromReadsWhatIsNewAndWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	record := Append(path, 0, quiet())
	record(Event{Time: time.Now(), Key: "demo/a"})
	list, end := From(path, 0)
	if len(list) != 1 || list[0].Key != "demo/a" {
		t.Fatalf("%+v", list)
	}
	line, err := Line(Event{Time: time.Now(), Key: "demo/b"})
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, line[:10])
	if list, same := From(path, end); len(list) != 0 || same != end {
		t.Errorf("half a line: %+v, %d", list, same)
	}
	appendTo(t, path, line[10:])
	if list, _ := From(path, end); len(list) != 1 || list[0].Key != "demo/b" {
		t.Errorf("the rest of it: %+v", list)
	}
}

func appendTo(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
}

// TestWhatCannotBeRecordedIsToldOnce and keeps nobody from signing.
func TestWhatCannotBeRecordedIsToldOnce(t *testing.T) {
	var log bytes.Buffer
	record := Append(filepath.Join(t.TempDir(), "nowhere", "events"), 0, slog.New(slog.NewTextHandler(&log, nil)))
	record(Event{Time: time.Now()})
	record(Event{Time: time.Now()})
	if n := strings.Count(log.String(), "not every event is recorded"); n != 1 {
		t.Errorf("told %d times: %s", n, &log)
	}
}

func TestFailuresAreToldOnce(t *testing.T) {
	err := Told(os.ErrPermission)
	if !IsTold(err) || IsTold(os.ErrPermission) || err.Error() != os.ErrPermission.Error() || Told(nil) != nil {
		t.Error("the mark is wrong")
	}
}
