package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// event is what `go test -json` prints, one per line (see `go doc test2json`).
type event struct {
	Time       time.Time
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

type counts struct{ passed, failed, skipped int }

func (c *counts) add(more counts) {
	c.passed += more.passed
	c.failed += more.failed
	c.skipped += more.skipped
}

func (c counts) all() int { return c.passed + c.failed + c.skipped }

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

type test struct {
	output   []string
	parent   bool // has subtests
	badChild bool // one of them failed
	parallel bool // has waited for its turn
	ended    bool
}

// group is a test, or those of its subtests that have the first part of their names in common.
type group struct {
	began   time.Time
	open    int // tests that have not ended
	counts  counts
	printed bool
}

type pkg struct {
	tests  map[string]*test
	order  []string
	groups map[string]*group
	output []string // of no test: build errors, panics, TestMain
	counts counts
}

// running is what a test that runs is known by.
type running struct{ pkg, test string }

type summary struct {
	out      *console
	allow    []*regexp.Regexp // nil: every skip is allowed
	expected int              // packages
	packages map[string]*pkg

	began, spoke time.Time // the first line; the last that was printed
	counts       counts
	known        int // tests that have begun, or wait for their turn, and have no subtests
	finished     int // packages
	since        map[running]time.Time
}

const (
	long   = 5 * time.Second // a group that takes so long gets a line
	silent = time.Minute     // for so long nothing may be printed where there is no terminal
)

func newSummary(out *console, allow []*regexp.Regexp, expected int) *summary {
	return &summary{out: out, allow: allow, expected: expected, packages: map[string]*pkg{}, since: map[running]time.Time{}}
}

// print writes lines of the events until now.
func (s *summary) print(now time.Time, format string, arguments ...any) {
	fmt.Fprintf(s.out, format, arguments...)
	if !now.IsZero() {
		s.spoke = now
	}
}

// line takes one line of go test's output; what is no event is shown as it is.
func (s *summary) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		s.print(time.Time{}, "%s\n", line)
		return
	}
	s.event(e)
}

func (s *summary) event(e event) {
	switch {
	case e.Action == "build-output":
		s.print(e.Time, "%s", e.Output)
	case e.Package == "":
	case e.Test == "":
		s.packageEvent(e)
	default:
		s.testEvent(e)
	}
}

// tick shows what runs: each time on a terminal, elsewhere when nothing was printed for long.
func (s *summary) tick(now time.Time) {
	if s.began.IsZero() {
		s.began, s.spoke = now, now
	}
	if s.out.terminal() {
		s.out.status(s.state(now))
	} else if now.Sub(s.spoke) >= silent {
		s.print(now, "…     %s\n", s.state(now))
	}
}

// state says how much is done, for how long, and which test has been running longest.
func (s *summary) state(now time.Time) string {
	done := fmt.Sprintf("%d of %d tests", s.counts.all(), s.known)
	if s.expected > 1 {
		done = fmt.Sprintf("%d of %d packages, %d tests", s.finished, s.expected, s.counts.all())
	}
	if s.counts.failed > 0 {
		done += fmt.Sprintf(", %d failed", s.counts.failed)
	}
	text := fmt.Sprintf("%s, %s", done, now.Sub(s.began).Round(time.Second))
	var longest running
	for r, since := range s.since {
		if s.packages[r.pkg].tests[r.test].parent {
			continue
		}
		if longest == (running{}) || since.Before(s.since[longest]) || since.Equal(s.since[longest]) && r.test < longest.test {
			longest = r
		}
	}
	if longest != (running{}) {
		text += fmt.Sprintf(": %s %s (%.0f s)", path.Base(longest.pkg), longest.test, now.Sub(s.since[longest]).Seconds())
	}
	return text
}

func (s *summary) pkg(name string) *pkg {
	p := s.packages[name]
	if p == nil {
		p = &pkg{tests: map[string]*test{}, groups: map[string]*group{}}
		s.packages[name] = p
	}
	return p
}

// groupOf is the group of a test: TEST/NAME for TEST/NAME/…, else TEST.
func groupOf(name string) string {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) == 3 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

func (p *pkg) group(name string) *group {
	g := p.groups[groupOf(name)]
	if g == nil {
		g = &group{}
		p.groups[groupOf(name)] = g
	}
	return g
}

// test is a test that is known from now on, and so are those around it. A name with "/" has parts that are no tests by themselves.
func (s *summary) test(p *pkg, name string) *test {
	t := p.tests[name]
	if t == nil {
		t = &test{}
		p.tests[name] = t
		p.order = append(p.order, name)
		s.known++
		if i := strings.LastIndex(name, "/"); i >= 0 {
			if parent := s.test(p, name[:i]); !parent.parent {
				parent.parent = true
				s.known--
			}
		}
	}
	return t
}

func (s *summary) testEvent(e event) {
	p := s.pkg(e.Package)
	t := s.test(p, e.Test)
	which := running{e.Package, e.Test}
	switch e.Action {
	case "run":
		s.since[which] = e.Time
		p.group(e.Test).open++
	case "pause":
		t.parallel = true
		delete(s.since, which)
	case "cont":
		s.since[which] = e.Time
		if g := p.group(e.Test); g.began.IsZero() {
			g.began = e.Time
		}
	case "output":
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		if g := p.group(e.Test); g.began.IsZero() { // it never waited
			g.began = s.since[which]
		}
		delete(s.since, which)
		for i, octet := range e.Test {
			if octet == '/' && e.Action == "fail" {
				p.tests[e.Test[:i]].badChild = true
			}
		}
		s.end(e, p, t)
	}
}

// end counts a test that has ended, and its group if that has ended, too.
func (s *summary) end(e event, p *pkg, t *test) {
	t.ended = true
	c := s.count(e, t)
	p.counts.add(c)
	s.counts.add(c)
	g := p.group(e.Test)
	g.counts.add(c)
	g.open--
	if g.open == 0 && t.parallel {
		// Parallel subtests go on when the test around them has begun all of them.
		s.groupLine(e, groupOf(e.Test), g)
	}
	if strings.Contains(e.Test, "/") {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(p.groups)) {
		if strings.HasPrefix(name, e.Test+"/") {
			s.groupLine(e, name, p.groups[name])
			delete(p.groups, name)
		}
	}
	s.groupLine(e, e.Test, g)
}

// groupLine prints a group that took long.
func (s *summary) groupLine(e event, name string, g *group) {
	took := e.Time.Sub(g.began)
	if g.printed || took < long || g.counts.all() == 0 {
		return
	}
	g.printed = true
	action := "pass"
	if g.counts.failed > 0 {
		action = "fail"
	}
	s.print(e.Time, "%-5s   %-34s %6.1f s  %s\n", action, name, took.Seconds(), g.counts)
}

func (s *summary) packageEvent(e event) {
	p := s.pkg(e.Package)
	switch e.Action {
	case "start":
		if s.began.IsZero() {
			s.began, s.spoke = e.Time, e.Time
		}
	case "output":
		p.output = append(p.output, e.Output)
	case "pass", "fail", "skip":
		s.finish(e, p)
	}
}

// finish prints a package's line. A test that has not ended by then has failed.
func (s *summary) finish(e event, p *pkg) {
	s.finished++
	for _, name := range p.order {
		if t := p.tests[name]; !t.ended {
			delete(s.since, running{e.Package, name})
			if t.parent {
				continue // counted as its subtests
			}
			c := s.count(event{Time: e.Time, Action: "fail"}, t)
			p.counts.add(c)
			s.counts.add(c)
		}
	}
	if e.Action == "fail" && p.counts.failed == 0 {
		s.print(e.Time, "%s", strings.Join(p.output, ""))
		p.counts.failed++
		s.counts.failed++
	}
	if len(p.order) > 0 || p.counts.failed > 0 {
		s.print(e.Time, "%-5s %-36s %6.1f s  %s\n", e.Action, e.Package, e.Elapsed, p.counts)
	}
}

// count says as what a test counts that ended with e, and prints what a failure or a skip has to say.
func (s *summary) count(e event, t *test) counts {
	if t.parent && (e.Action != "fail" || t.badChild) {
		return counts{} // counted as its subtests
	}
	switch e.Action {
	case "pass":
		t.output = nil
		return counts{passed: 1}
	case "skip":
		return s.skip(e, t)
	default: // failed, or the package ended while it ran
		s.print(e.Time, "%s", strings.Join(t.output, ""))
		return counts{failed: 1}
	}
}

func (s *summary) skip(e event, t *test) counts {
	reason := reason(t.output)
	if s.allow == nil || allowed(s.allow, e.Package+" "+e.Test) {
		s.print(e.Time, "skip  %s %s: %s\n", e.Package, e.Test, reason)
		return counts{skipped: 1}
	}
	s.print(e.Time, "FAIL  %s %s: skipped, which this run does not allow: %s\n", e.Package, e.Test, reason)
	return counts{failed: 1}
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
