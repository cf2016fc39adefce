package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func feed(t *testing.T, allow []*regexp.Regexp, lines ...string) (counts, string) {
	t.Helper()
	var out strings.Builder
	s := newSummary(&out, allow)
	for _, line := range lines {
		s.line([]byte(line))
	}
	return s.total(), out.String()
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
		{"a parent that fails by itself counts", nil, []string{
			`{"Action":"pass","Package":"p","Test":"TestA/one"}`, `{"Action":"fail","Package":"p","Test":"TestA"}`,
			`{"Action":"fail","Package":"p"}`}, counts{passed: 1, failed: 1}, ""},
		{"a test cut off by a panic fails", nil, []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p"}`}, counts{failed: 1}, ""},
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
