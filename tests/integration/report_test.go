package integration

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signkit/images"
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

// leftOut records that no scenario ran on an image, and why.
func (r *report) leftOut(i images.Image, why string) {
	for _, v := range images.Variants {
		for _, scenario := range i.Scenarios[v] {
			r.add(outcome{Scenario: scenario, Image: i.Name, Result: "skipped", Reason: strings.TrimSpace(why)})
		}
	}
	r.excused(i)
}

// excused records the scenarios that cannot run on an image.
func (r *report) excused(i images.Image) {
	for _, scenario := range slices.Sorted(maps.Keys(i.Without)) {
		r.add(outcome{Scenario: scenario, Image: i.Name, Result: "skipped", Reason: i.Without[scenario]})
	}
}

func (r *report) add(cell outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, cell)
}

// write sorts the report. It leaves an older one alone when nothing was run.
func (r *report) write(file string) error {
	if !slices.ContainsFunc(r.outcomes, func(o outcome) bool { return o.Result != "skipped" }) {
		return nil
	}
	slices.SortStableFunc(r.outcomes, func(a, b outcome) int {
		return slices.Compare([]string{a.Scenario, a.Image, a.Key, a.User}, []string{b.Scenario, b.Image, b.Key, b.User})
	})
	text, err := json.MarshalIndent(r.outcomes, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
