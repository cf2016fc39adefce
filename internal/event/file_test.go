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

// TestWhatIsNoWholeEventIsLeftOut: the first line that is read may be cut, and the last one be on its way.
func TestWhatIsNoWholeEventIsLeftOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	line, err := Line(Event{Time: time.Now(), Key: "demo/a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Join([][]byte{line, line, line[:10]}, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := Last(path, int64(2*len(line)))
	if err != nil || len(list) != 1 || list[0].Key != "demo/a" {
		t.Errorf("%+v, %v", list, err)
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
