package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// row is one comparison: medians of both sides with their quartiles.
type row struct {
	Group   string  `json:"group"`
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Ours    summary `json:"ours"`
	Other   summary `json:"other"`
	Against string  `json:"against"`
	// Value is what the target is about; a row without a target is for information.
	Value  float64 `json:"value"`
	Target string  `json:"target,omitempty"`
	Met    bool    `json:"met"`
	// Limit says why a missed target is missed, as far as it is known.
	Limit string `json:"limit,omitempty"`
}

// summary describes the measurements of one side.
type summary struct {
	Runs   int     `json:"runs"`
	Low    float64 `json:"lower_quartile"`
	Median float64 `json:"median"`
	High   float64 `json:"upper_quartile"`
}

func summarize(values []float64) summary {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return summary{}
	}
	return summary{len(v), v[len(v)/4], v[len(v)/2], v[len(v)*3/4]}
}

// compare makes a row without a target, whose value is how many times as much ours is.
func compare(name, unit, against string, ours, other []float64) row {
	r := row{Name: name, Unit: unit, Against: against, Ours: summarize(ours), Other: summarize(other), Met: true}
	r.Value = r.Ours.Median / r.Other.Median
	return r
}

// ratio: ours may be at most so many times the other.
func (r row) ratio(most float64) row {
	r.Value = r.Ours.Median / r.Other.Median
	r.Target, r.Met = fmt.Sprintf("≤ %.4g×", most), r.Value <= most
	return r
}

// atMost: ours may be at most so much, whatever the other is.
func (r row) atMost(most float64) row {
	r.Value = r.Ours.Median
	r.Target, r.Met = strings.TrimSpace(fmt.Sprintf("≤ %.4g %s", most, r.Unit)), r.Ours.Median <= most
	return r
}

// throughput: of two rates, ours must reach such a part of the other.
func (r row) throughput(least float64) row {
	r.Value = r.Ours.Median / r.Other.Median
	r.Target, r.Met = fmt.Sprintf("≥ %.2f of its rate", least), r.Value >= least
	return r
}

// asSpeed makes the value that part of the other's speed which ours, a duration, reaches.
func (r row) asSpeed() row {
	r.Value = r.Other.Median / r.Ours.Median
	return r
}

// speed: of two durations, ours must reach such a part of the other's speed.
func (r row) speed(least float64) row {
	r = r.asSpeed()
	r.Target, r.Met = fmt.Sprintf("≥ %.2f of its speed", least), r.Value >= least
	return r
}

// equal: no run of either side may differ from another.
func (r row) equal() row {
	r.Value = r.Ours.Median - r.Other.Median
	r.Target, r.Met = "equal", r.Ours == r.Other && r.Ours.Low == r.Ours.High
	return r
}

// limitedBy notes what keeps the row from its target; it is shown only where that is missed.
func (r row) limitedBy(what string) row {
	if !r.Met {
		r.Limit = what
	}
	return r
}

func (r row) verdict() string {
	switch {
	case r.Target == "":
		return "for information"
	case r.Met:
		return r.Target + ": met"
	}
	return r.Target + ": MISSED"
}

func (s summary) text(unit string) string {
	number := func(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) }
	if unit != "" {
		unit = " " + unit
	}
	return fmt.Sprintf("%s%s (%s–%s)", number(s.Median), unit, number(s.Low), number(s.High))
}

func printTable(w io.Writer, rows []row) {
	const line = "%-42s %26s %26s  %-24s %7s  %s\n"
	fmt.Fprintf(w, line, "what: median (quartiles)", "signkit", "other", "other is", "value", "target")
	for _, r := range rows {
		fmt.Fprintf(w, line, r.Name, r.Ours.text(r.Unit), r.Other.text(r.Unit), r.Against, fmt.Sprintf("%.2f", r.Value), r.verdict())
	}
	least := math.MaxInt
	for _, r := range rows {
		if r.Limit != "" {
			fmt.Fprintf(w, "%s: %s\n", r.Name, r.Limit)
		}
		least = min(least, r.Ours.Runs)
	}
	fmt.Fprintf(w, "%d CPUs, at least %d runs of each side, alternating\n", runtime.NumCPU(), least)
}

func writeJSON(file string, rows []row) error {
	data, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
