package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// event is what `go test -json` prints, one per line (see `go doc test2json`).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

type counts struct{ passed, failed, skipped int }

type test struct {
	action   string // pass, fail, skip; empty while it runs
	output   []string
	parent   bool // has subtests
	badChild bool // one of them failed
}

type pkg struct {
	tests  map[string]*test
	order  []string
	output []string // of no test: build errors, panics, TestMain
}

type summary struct {
	out      io.Writer
	allow    []*regexp.Regexp // nil: every skip is allowed
	packages map[string]*pkg
	counts   counts
}

func newSummary(out io.Writer, allow []*regexp.Regexp) *summary {
	return &summary{out: out, allow: allow, packages: map[string]*pkg{}}
}

// line takes one line of go test's output; what is no event is shown as it is.
func (s *summary) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		fmt.Fprintf(s.out, "%s\n", line)
		return
	}
	s.event(e)
}

func (s *summary) event(e event) {
	switch {
	case e.Action == "build-output":
		fmt.Fprint(s.out, e.Output)
	case e.Package == "":
	case e.Test == "":
		s.packageEvent(e)
	default:
		s.testEvent(e)
	}
}

func (s *summary) pkg(name string) *pkg {
	p := s.packages[name]
	if p == nil {
		p = &pkg{tests: map[string]*test{}}
		s.packages[name] = p
	}
	return p
}

func (p *pkg) test(name string) *test {
	t := p.tests[name]
	if t == nil {
		t = &test{}
		p.tests[name] = t
		p.order = append(p.order, name)
	}
	return t
}

func (s *summary) testEvent(e event) {
	p := s.pkg(e.Package)
	t := p.test(e.Test)
	if i := strings.LastIndex(e.Test, "/"); i >= 0 {
		parent := p.test(e.Test[:i])
		parent.parent = true
		parent.badChild = parent.badChild || e.Action == "fail"
	}
	switch e.Action {
	case "output":
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		t.action = e.Action
	}
}

func (s *summary) packageEvent(e event) {
	p := s.pkg(e.Package)
	switch e.Action {
	case "output":
		p.output = append(p.output, e.Output)
	case "pass", "fail", "skip":
		s.finish(e, p)
	}
}

// finish counts a package's tests and prints its lines.
func (s *summary) finish(e event, p *pkg) {
	var c counts
	for _, name := range p.order {
		s.count(&c, name, p.tests[name], e.Package)
	}
	if e.Action == "fail" && c.failed == 0 {
		fmt.Fprint(s.out, strings.Join(p.output, ""))
		c.failed++
	}
	if len(p.order) > 0 || c.failed > 0 {
		fmt.Fprintf(s.out, "%-5s %-36s %6.1f s  %d passed, %d failed, %d skipped\n", e.Action, e.Package, e.Elapsed, c.passed, c.failed, c.skipped)
	}
	s.counts.passed += c.passed
	s.counts.failed += c.failed
	s.counts.skipped += c.skipped
}

func (s *summary) count(c *counts, name string, t *test, pkgName string) {
	if t.parent && (t.action != "fail" || t.badChild) {
		return // counted as its subtests
	}
	switch t.action {
	case "pass":
		c.passed++
	case "skip":
		s.skip(c, name, t, pkgName)
	default: // failed, or the package ended while it ran
		c.failed++
		fmt.Fprint(s.out, strings.Join(t.output, ""))
	}
}

func (s *summary) skip(c *counts, name string, t *test, pkgName string) {
	reason := reason(t.output)
	if s.allow == nil || allowed(s.allow, pkgName+" "+name) {
		c.skipped++
		fmt.Fprintf(s.out, "skip  %s %s: %s\n", pkgName, name, reason)
		return
	}
	c.failed++
	fmt.Fprintf(s.out, "FAIL  %s %s: skipped, which this run does not allow: %s\n", pkgName, name, reason)
}

func (s *summary) total() counts { return s.counts }

// reason is the text that the test gave to Skip.
func reason(output []string) string {
	for i := len(output) - 1; i >= 0; i-- {
		line := strings.TrimSpace(output[i])
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") {
			continue
		}
		if _, text, found := strings.Cut(line, ": "); found {
			return text
		}
		return line
	}
	return "no reason given"
}

// readAllowed reads regular expressions over "PACKAGE TEST", one per line, each under a comment with its reason.
// No file name gives nil, which allows everything.
func readAllowed(file string) ([]*regexp.Regexp, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the allowed skips: %w", err)
	}
	allow := []*regexp.Regexp{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		re, err := regexp.Compile("^(?:" + line + ")$")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		allow = append(allow, re)
	}
	return allow, nil
}

func allowed(allow []*regexp.Regexp, name string) bool {
	for _, re := range allow {
		if re.MatchString(name) {
			return true
		}
	}
	return false
}
