package config

import (
	"flag"
	"os"
	"strings"
	"testing"
	"text/template"
)

var update = flag.Bool("update", false, "write the reference page anew")

const referencePage = "../../docs/configuration.md"

// TestReferencePageIsCurrent compares docs/configuration.md with the table of settings; -update writes it.
func TestReferencePageIsCurrent(t *testing.T) {
	want := reference(t)
	if *update {
		if err := os.WriteFile(referencePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the settings say; run: go test ./internal/config -run ReferencePage -update", referencePage)
	}
}

// TestEverySettingIsExplained keeps the page free of empty and broken cells.
func TestEverySettingIsExplained(t *testing.T) {
	for _, s := range Settings() {
		if s.Doc == "" || strings.HasSuffix(s.Doc, ".") || strings.Contains(s.Doc, "|") {
			t.Errorf("%v: the explanation %q must be a phrase without a full stop or a bar", s.Environment, s.Doc)
		}
	}
}

func reference(t *testing.T) string {
	t.Helper()
	page, err := template.New("configuration.md.tmpl").Funcs(template.FuncMap{
		"list": func(s string) []string { return []string{s} },
		"code": func(names []string) string {
			if len(names) == 0 || names[0] == "" {
				return ""
			}
			return "`" + strings.Join(names, "`, `") + "`"
		},
	}).ParseFiles("testdata/configuration.md.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := page.Execute(&b, map[string]any{"Settings": Settings(), "CI": ciVariables()}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
