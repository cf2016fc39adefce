package home

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signkit/internal/event"
)

// TestLastErrorsAreTheFailuresAmongTheEvents also where the file has just begun anew.
func TestLastErrorsAreTheFailuresAmongTheEvents(t *testing.T) {
	h, err := Open(filepath.Join(shortDir(t), "home"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.LastErrors(3); len(got) > 0 || err != nil {
		t.Errorf("before there are any: %v, %v", got, err)
	}
	record := event.Append(h.file(EventsFile), 500, slog.New(slog.DiscardHandler))
	for _, text := range []string{"one", "two", "", "three", "", "four"} {
		record(event.Event{Time: time.Now(), Key: "demo/a", Error: text})
	}
	var texts []string
	got, err := h.LastErrors(3)
	for _, e := range got {
		texts = append(texts, e.Error)
	}
	if list := strings.Join(texts, " "); list != "two three four" || err != nil {
		t.Errorf("%q, %v", list, err)
	}
}
