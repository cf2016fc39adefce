package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func feed(t *testing.T, allow []*regexp.Regexp, lines ...string) (counts, string) {
	t.Helper()
	var out strings.Builder
	s := newSummary(consoleOf(&out, 0), allow, 1)
	for _, line := range lines {
		s.line([]byte(line))
	}
	return s.total(), out.String()
}

func consoleOf(out *strings.Builder, width int) *console {
	return &console{out: out, width: func() int { return width }}
}

// noon is when the tests' events begin.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// happen feeds "SECONDS ACTION TEST" words of package p, or "SECONDS ACTION" of the package, and returns what is printed for each.
func happen(s *summary, out *strings.Builder, words ...string) []string {
	var printed []string
	for _, word := range words {
		var seconds int
		e := event{Package: "p"}
		_, _ = fmt.Sscan(word, &seconds, &e.Action, &e.Test)
		e.Time = noon.Add(time.Duration(seconds) * time.Second)
		s.event(e)
		if out.Len() > 0 {
			printed = append(printed, out.String())
			out.Reset()
		}
	}
	return printed
}

func TestGroups(t *testing.T) {
	for _, test := range []struct {
		name  string
		words []string
		want  []string
	}{
		{"parallel subtests, each group when its last one ends", []string{
			"0 run T", "0 run T/x/u/1", "0 pause T/x/u/1", "0 run T/x/u/2", "0 pause T/x/u/2", "0 run T/y/1", "0 pause T/y/1",
			"10 cont T/x/u/1", "11 pass T/x/u/1", "12 cont T/x/u/2", "20 pass T/x/u/2", "21 cont T/y/1", "30 fail T/y/1", "30 fail T", "31 fail"},
			[]string{
				"pass    T/x                                  10.0 s  2 passed, 0 failed, 0 skipped\n",
				"fail    T/y                                   9.0 s  0 passed, 1 failed, 0 skipped\n",
				"fail  p                                       0.0 s  2 passed, 1 failed, 0 skipped\n",
			}},
		{"subtests one after another, when the test ends", []string{
			"0 run T", "0 run T/x/1", "4 pass T/x/1", "4 run T/x/2", "9 pass T/x/2", "9 pass T", "9 pass"},
			[]string{
				"pass    T/x                                   9.0 s  2 passed, 0 failed, 0 skipped\n",
				"pass  p                                       0.0 s  2 passed, 0 failed, 0 skipped\n",
			}},
		{"a long test alone, and a short one", []string{"0 run T", "6 pass T", "6 run U", "7 pass U", "7 pass"},
			[]string{
				"pass    T                                     6.0 s  1 passed, 0 failed, 0 skipped\n",
				"pass  p                                       0.0 s  2 passed, 0 failed, 0 skipped\n",
			}},
		{"the wait for a turn is not counted", []string{"0 run T", "0 pause T", "60 cont T", "61 pass T", "61 pass"},
			[]string{"pass  p                                       0.0 s  1 passed, 0 failed, 0 skipped\n"}},
		{"steps of a subtest are of its group", []string{
			"0 run T", "0 run T/x/1", "0 pause T/x/1", "0 cont T/x/1", "1 run T/x/1/step", "7 pass T/x/1/step", "8 pass T/x/1", "8 pass T"},
			[]string{"pass    T/x                                   8.0 s  1 passed, 0 failed, 0 skipped\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			s := newSummary(consoleOf(&out, 0), nil, 1)
			if got := happen(s, &out, test.words...); !slices.Equal(got, test.want) {
				t.Errorf("prints\n%q, want\n%q", got, test.want)
			}
		})
	}
}

// TestState: what is shown while tests run.
func TestState(t *testing.T) {
	words := []string{"0 start", "0 run T", "0 run T/x/1", "0 pause T/x/1", "0 run T/x/2", "0 pause T/x/2", "1 cont T/x/1", "2 cont T/x/2"}
	for _, test := range []struct {
		name     string
		width    int
		packages int
		ticks    []int // seconds
		want     string
	}{
		{"a terminal, at once", 80, 1, []int{2}, "0 of 2 tests, 2s: p T/x/1 (1 s)"},
		{"a terminal, again", 80, 1, []int{2, 3}, "0 of 2 tests, 2s: p T/x/1 (1 s)\r\x1b[K0 of 2 tests, 3s: p T/x/1 (2 s)"},
		{"a narrow one", 10, 1, []int{2}, "0 of 2 te"},
		{"several packages", 80, 7, []int{2}, "0 of 7 packages, 0 tests, 2s: p T/x/1 (1 s)"},
		{"no terminal", 0, 1, []int{2, 59}, ""},
		{"no terminal, for long", 0, 1, []int{59, 60, 61}, "…     0 of 2 tests, 1m0s: p T/x/1 (59 s)\n"},
		{"no terminal, for twice as long", 0, 1, []int{60, 61, 120}, "…     0 of 2 tests, 1m0s: p T/x/1 (59 s)\n…     0 of 2 tests, 2m0s: p T/x/1 (119 s)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			s := newSummary(consoleOf(&out, test.width), nil, test.packages)
			happen(s, &out, words...)
			for _, seconds := range test.ticks {
				s.tick(noon.Add(time.Duration(seconds) * time.Second))
			}
			if got := out.String(); got != test.want {
				t.Errorf("shows %q, want %q", got, test.want)
			}
		})
	}
}

// TestStateIsUpToDate: what has ended is counted, and what has been printed counts as a sign of life.
func TestStateIsUpToDate(t *testing.T) {
	var out strings.Builder
	s := newSummary(consoleOf(&out, 0), nil, 1)
	happen(s, &out, "0 start", "0 run T", "50 fail T", "50 run U")
	s.tick(noon.Add(80 * time.Second))
	if out.Len() > 0 {
		t.Errorf("30 s after a line, it prints %q", out.String())
	}
	s.tick(noon.Add(110 * time.Second))
	if want := "…     1 of 2 tests, 1 failed, 1m50s: p U (60 s)\n"; out.String() != want {
		t.Errorf("prints %q, want %q", out.String(), want)
	}
}

// TestOutputTakesTheStatusAway: lines never begin in the middle of a status, and a status never in the middle of a line.
func TestOutputTakesTheStatusAway(t *testing.T) {
	var out strings.Builder
	c := consoleOf(&out, 80)
	c.status("one")
	fmt.Fprint(c, "a line\n")
	c.status("two")
	fmt.Fprint(c, "half")
	c.status("three")
	fmt.Fprint(c, " a line\n")
	c.status("four")
	c.status("")
	if want := "one\r\x1b[Ka line\ntwo\r\x1b[Khalf a line\nfour\r\x1b[K"; out.String() != want {
		t.Errorf("writes %q, want %q", out.String(), want)
	}
}

func TestPackagesOfArguments(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"-race -timeout=5m a b", "a b"}, {"a b", "a b"}, {"-race", ""}, {"", ""},
	} {
		if got := strings.Join(packages(strings.Fields(test.args)), " "); got != test.want {
			t.Errorf("packages of %q: %q, want %q", test.args, got, test.want)
		}
	}
}

const skipped = `{"Action":"output","Package":"p","Test":"TestS","Output":"    s_test.go:3: no engine here\n"}`

func TestCounts(t *testing.T) {
	tests := []struct {
		name  string
		allow []*regexp.Regexp
		lines []string
		want  counts
		shows string
	}{
		{"subtests count, their parent does not", nil, []string{
			`{"Action":"pass","Package":"p","Test":"TestA/one"}`, `{"Action":"pass","Package":"p","Test":"TestA/two"}`,
			`{"Action":"pass","Package":"p","Test":"TestA"}`, `{"Action":"pass","Package":"p","Elapsed":1.5}`}, counts{passed: 2}, "1.5 s"},
		{"a subtest that fails counts, also if its name has a slash", nil, []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p","Test":"TestA/one/two"}`,
			`{"Action":"fail","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p"}`}, counts{failed: 1}, ""},
		{"a parent that fails by itself counts", nil, []string{
			`{"Action":"pass","Package":"p","Test":"TestA/one"}`, `{"Action":"fail","Package":"p","Test":"TestA"}`,
			`{"Action":"fail","Package":"p"}`}, counts{passed: 1, failed: 1}, ""},
		{"a test cut off by a panic fails", nil, []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p"}`}, counts{failed: 1}, ""},
		{"a subtest cut off by a panic fails, its parent does not count", nil, []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`, `{"Action":"run","Package":"p","Test":"TestA/one"}`,
			`{"Action":"output","Package":"p","Test":"TestA/one","Output":"panic: test timed out\n"}`,
			`{"Action":"fail","Package":"p"}`}, counts{failed: 1}, "timed out"},
		{"a package that does not build fails once and shows why", nil, []string{
			`{"Action":"output","Package":"p","Output":"FAIL p [build failed]\n"}`, `{"Action":"fail","Package":"p"}`}, counts{failed: 1}, "build failed"},
		{"a skip shows its reason", nil, []string{
			skipped, `{"Action":"skip","Package":"p","Test":"TestS"}`, `{"Action":"pass","Package":"p"}`}, counts{skipped: 1}, "TestS: no engine here"},
		{"a skip that is not allowed fails", []*regexp.Regexp{}, []string{
			skipped, `{"Action":"skip","Package":"p","Test":"TestS"}`, `{"Action":"pass","Package":"p"}`}, counts{failed: 1}, "does not allow"},
		{"an allowed skip is a skip", []*regexp.Regexp{regexp.MustCompile(`^p TestS$`)}, []string{
			skipped, `{"Action":"skip","Package":"p","Test":"TestS"}`, `{"Action":"pass","Package":"p"}`}, counts{skipped: 1}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, out := feed(t, tt.allow, tt.lines...)
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if !strings.Contains(out, tt.shows) {
				t.Errorf("output lacks %q:\n%s", tt.shows, out)
			}
		})
	}
}

func TestReadAllowed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "allowed")
	if err := os.WriteFile(file, []byte("# why\n\np/q Test(A|B)/.*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	allow, err := readAllowed(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"p/q TestA/x": true, "p/q TestC/x": false, "p/q TestA": false} {
		if got := allowed(allow, name); got != want {
			t.Errorf("allowed(%q) = %v, want %v", name, got, want)
		}
	}
}
