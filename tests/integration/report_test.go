package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// outcome is one line of build/reports/scenarios.json.
type outcome struct {
	Scenario string  `json:"scenario"`
	Image    string  `json:"image"`
	Key      string  `json:"key"`
	User     string  `json:"user"`
	Result   string  `json:"result"` // passed, failed or skipped
	Reason   string  `json:"reason"` // of a skip
	Seconds  float64 `json:"seconds"`
}

// report collects outcomes; the zero value is ready.
type report struct {
	mu       sync.Mutex
	outcomes []outcome
}

// note records how t ends, as the outcome of that cell.
func (r *report) note(t *testing.T, cell outcome) {
	start := time.Now()
	t.Cleanup(func() {
		cell.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds()
		cell.Result = "passed"
		if t.Failed() {
			cell.Result = "failed"
		}
		r.add(cell)
	})
}

func (r *report) add(cell outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, cell)
}

// write leaves an older report alone when nothing was run.
func (r *report) write(file string) error {
	if len(r.outcomes) == 0 {
		return nil
	}
	text, err := json.MarshalIndent(r.outcomes, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
