// Command samplestable writes the table of samples/README.md from what the scripts say of themselves and what was run last.
//
//	samplestable [--check]
//
// A row has the first statement and the usage of sign.sh, what verify.sh needs, and the releases on which all runs of the sample
// passed, from build/reports/scenarios.json. Scenarios are named after the sample's folder: rpm, rpm-add.
// With -check nothing is written: the exit status is 1 if the README is not what the scripts say. What was run cannot be checked
// without running it, so then a release must only be one that images/matrix.json has the sample for.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"signkit/images"
)

const (
	readme = "samples/README.md"
	report = "build/reports/scenarios.json"
	begin  = "<!-- written by scripts/samplestable -->\n"
	end    = "<!-- end -->\n"
)

func main() {
	check := pflag.Bool("check", false, "compare, do not write")
	pflag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "samplestable:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), begin)
	old, after, found2 := strings.Cut(rest, end)
	if !found || !found2 {
		return fmt.Errorf("%s lacks the lines %q and %q", readme, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	samples, err := readSamples()
	if err != nil {
		return err
	}
	if check {
		return compare(samples, old)
	}
	if err := addReleases(samples); err != nil {
		return err
	}
	return os.WriteFile(readme, []byte(before+begin+table(samples)+end+after), 0o644)
}

// sample is one row.
type sample struct {
	folder, signs, usage, verifiedBy string
	releases                         []string
}

func readSamples() ([]*sample, error) {
	scripts, err := filepath.Glob("samples/*/sign.sh")
	if err != nil {
		return nil, err
	}
	var list []*sample
	for _, script := range scripts {
		folder := filepath.Dir(script)
		sign, err := readHeader(script)
		if err != nil {
			return nil, err
		}
		verify, err := readHeader(filepath.Join(folder, "verify.sh"))
		if err != nil {
			return nil, err
		}
		list = append(list, &sample{
			folder: filepath.Base(folder), signs: sign.statement, usage: sign.usage, verifiedBy: verify.needed,
		})
	}
	return list, nil
}

// header is what a script says of itself above its first command.
type header struct{ usage, statement, needed string }

// statementEnd is where the first statement ends: at a full stop, colon or semicolon before a blank, or with the paragraph.
var statementEnd = regexp.MustCompile(`[.:;](\s|$)`)

func readHeader(script string) (header, error) {
	text, err := os.ReadFile(script)
	if err != nil {
		return header{}, err
	}
	var h header
	var prose strings.Builder
	for line := range strings.Lines(string(text)) {
		comment, found := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !found {
			break
		}
		comment = strings.TrimSpace(comment)
		usage, isUsage := strings.CutPrefix(comment, "usage: ")
		switch {
		case strings.HasPrefix(comment, "!"):
		case isUsage && h.usage == "":
			h.usage = usage
		case isUsage:
		case comment == "":
			prose.WriteString("\n")
		default:
			prose.WriteString(comment + " ")
		}
	}
	paragraphs := strings.TrimSpace(prose.String())
	h.statement = paragraphs
	if at := statementEnd.FindStringIndex(paragraphs); at != nil {
		h.statement = paragraphs[:at[0]]
	}
	if _, needed, found := strings.Cut(paragraphs, "Needed: "); found {
		needed, _, _ = strings.Cut(needed, "\n")
		h.needed = strings.TrimSuffix(strings.TrimSpace(needed), ".")
	}
	if h.usage == "" || h.statement == "" || h.needed == "" {
		return h, fmt.Errorf("%s: wants the comments \"# usage: …\", what it does, and \"Needed: …\" above its first command", script)
	}
	return h, nil
}

// addReleases reads the last report.
func addReleases(samples []*sample) error {
	text, err := os.ReadFile(report)
	if err != nil {
		return fmt.Errorf("%w (make integration)", err)
	}
	var rows []struct{ Scenario, Image, Result string }
	if err := json.Unmarshal(text, &rows); err != nil {
		return fmt.Errorf("%s: %w", report, err)
	}
	all, err := images.All()
	if err != nil {
		return err
	}
	for _, s := range samples {
		for _, i := range all {
			passed, failed := false, false
			for _, r := range rows {
				if r.Image != i.Name || r.Scenario != s.folder && !strings.HasPrefix(r.Scenario, s.folder+"-") {
					continue
				}
				passed, failed = passed || r.Result == "passed", failed || r.Result == "failed"
			}
			if passed && !failed {
				s.releases = append(s.releases, i.Name)
			}
		}
	}
	return nil
}

func table(samples []*sample) string {
	var b strings.Builder
	b.WriteString("| sample | command | verified by | run on |\n|---|---|---|---|\n")
	for _, s := range samples {
		b.WriteString(s.fixed() + " " + releases(s.releases) + " |\n")
	}
	return b.String()
}

// fixed is the part of a row that does not depend on runs.
func (s *sample) fixed() string {
	return fmt.Sprintf("| [%s](%[1]s/): %s | `%s` | %s |", s.folder, s.signs, strings.ReplaceAll(s.usage, "|", `\|`), s.verifiedBy)
}

func releases(names []string) string {
	if len(names) == 0 {
		return "not yet"
	}
	return strings.Join(names, ", ")
}

func compare(samples []*sample, old string) error {
	all, err := images.All()
	if err != nil {
		return err
	}
	const refresh = "; write it anew with: go run ./scripts/samplestable"
	lines := strings.Split(strings.TrimSpace(old), "\n")
	if len(lines) != len(samples)+2 {
		return fmt.Errorf("%s has %d rows for %d samples%s", readme, len(lines)-2, len(samples), refresh)
	}
	for n, s := range samples {
		run, found := strings.CutPrefix(lines[n+2], s.fixed())
		if !found {
			return fmt.Errorf("%s: the row of %s is not what its scripts say%s", readme, s.folder, refresh)
		}
		for _, name := range strings.Split(strings.Trim(run, " |"), ", ") {
			if name != "not yet" && !claims(all, name, s.folder) {
				return fmt.Errorf("%s: %s cannot have run on %q%s", readme, s.folder, name, refresh)
			}
		}
	}
	return nil
}

func claims(all []images.Image, name, scenario string) bool {
	return slices.ContainsFunc(all, func(i images.Image) bool {
		_, runs := i.Variant(scenario)
		return i.Name == name && runs
	})
}
