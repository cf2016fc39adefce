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

// must are the runs that a whole run must have for each sample on each image that was built.
var must = []struct {
	what string
	is   func(outcome) bool
}{
	{"root", func(o outcome) bool { return o.User == "root" }},
	{"a uid without passwd entry", func(o outcome) bool { return strings.HasPrefix(o.User, "uid-") }},
	{"a read-only root", func(o outcome) bool { return strings.HasSuffix(o.User, "read-only") }},
	{"an RSA key", func(o outcome) bool { return strings.Contains(o.Key, "rsa-") }},
	// Maven calls gpg, and has such a key on one release alone.
	{"an EC key", func(o outcome) bool { return strings.Contains(o.Key, "p-") || strings.HasPrefix(o.Scenario, "maven") }},
}

// lacks lists the runs of must that are not in the report as passed.
func (r *report) lacks(built []image) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, i := range built {
		for _, v := range images.Variants {
			for _, sample := range i.Scenarios[v] {
				for _, m := range must {
					if !slices.ContainsFunc(r.outcomes, func(o outcome) bool {
						return o.Image == i.Name && o.Result == "passed" && strings.HasPrefix(o.Scenario+"-", sample+"-") && m.is(o)
					}) {
						list = append(list, i.Name+": "+sample+" with "+m.what)
					}
				}
			}
		}
	}
	return list
}

// TestReportLacks: a sample that no test runs, or whose runs failed, is missed.
func TestReportLacks(t *testing.T) {
	i := image{images.Image{Name: "x", Scenarios: map[images.Variant][]string{images.Core: {"gpg"}}}}
	row := func(scenario, key, user, result string) outcome {
		return outcome{Scenario: scenario, Image: "x", Key: key, User: user, Result: result}
	}
	for _, test := range []struct {
		name  string
		rows  []outcome
		lacks []string
	}{
		{"nothing", nil, []string{"root", "a uid without passwd entry", "a read-only root", "an RSA key", "an EC key"}},
		{"all", []outcome{row("gpg", "demo/gpg-rsa-4096", "root", "passed"),
			row("gpg-clear", "demo/gpg-p-256", "uid-12345-read-only", "passed")}, nil},
		{"failed", []outcome{row("gpg", "demo/gpg-rsa-4096", "root", "passed"), row("gpg", "demo/gpg-p-256", "uid-1-read-only", "failed")},
			[]string{"a uid without passwd entry", "a read-only root", "an EC key"}},
		{"another sample", []outcome{row("gpgsm", "demo/gpg-rsa-4096", "root", "passed")},
			[]string{"root", "a uid without passwd entry", "a read-only root", "an RSA key", "an EC key"}},
	} {
		var want []string
		for _, what := range test.lacks {
			want = append(want, "x: gpg with "+what)
		}
		if got := (&report{outcomes: test.rows}).lacks([]image{i}); !slices.Equal(got, want) {
			t.Errorf("%s: lacks %q, want %q", test.name, got, want)
		}
	}
}
