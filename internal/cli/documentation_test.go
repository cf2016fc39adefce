package cli

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// calls finds a command of signkit and what follows, up to where a shell or a sentence ends it.
var calls = regexp.MustCompile("(?:^|[\\s\"'(;&|`])signkit +([a-z][a-z-]*(?: +[^\\s|;&()\"'`<>]+)*)")

// TestDocumentedCallsExist: each command and flag that the documentation, the samples and the templates for CI systems call.
func TestDocumentedCallsExist(t *testing.T) {
	root := newRootCommand(newApp(nil, "/", strings.NewReader(""), io.Discard, io.Discard))
	flags := 0
	for place, code := range documentedCode(t) {
		for _, call := range calls.FindAllStringSubmatch(strings.ReplaceAll(code, "\\\n", " "), -1) {
			words := strings.Fields(call[1])
			command, _, err := root.Find(words)
			if err != nil || command == root {
				t.Errorf("%s: there is no command signkit %s", place, words[0])
				continue
			}
			for _, word := range words {
				name, isFlag := strings.CutPrefix(word, "--")
				if !isFlag {
					continue
				}
				if name == "" { // what follows is another program's
					break
				}
				flags++
				command.InitDefaultHelpFlag()
				name, _, _ = strings.Cut(name, "=")
				if command.Flags().Lookup(name) == nil && command.InheritedFlags().Lookup(name) == nil {
					t.Errorf("%s: %s has no flag --%s", place, command.CommandPath(), name)
				}
			}
		}
	}
	if flags < 20 {
		t.Errorf("%d flags found", flags)
	}
}

// TestDocumentedShellsEndAtTheFirstFailure: several commands in `bash -c '…'` are as green as the last of them, unless the shell is
// told to end at the first that fails, also within a pipeline.
func TestDocumentedShellsEndAtTheFirstFailure(t *testing.T) {
	shell := regexp.MustCompile(`(?s)\b(?:ba|da)?sh((?:[\s,"]+-?[a-z]+)*[\s,"]+-[a-z]*c)[\s,"]+(?:'(.*?)'|"(.*?)")`)
	found := 0
	for place, code := range documentedCode(t) {
		for _, call := range shell.FindAllStringSubmatch(code, -1) {
			found++
			script := strings.TrimSpace(call[2] + call[3])
			if strings.ContainsAny(script, "\n;&|") && !regexp.MustCompile(`-[a-z]*e`).MatchString(call[1]) {
				t.Errorf("%s: the shell goes on after a failure: %s", place, call[0])
			}
			if strings.Contains(strings.ReplaceAll(script, "||", ""), "|") && !strings.Contains(call[1], "pipefail") {
				t.Errorf("%s: the shell does not see what fails in a pipeline: %s", place, call[0])
			}
		}
	}
	if found < 3 {
		t.Errorf("%d calls found", found)
	}
}

// documentedCode has the code of all pages, and the scripts and templates without what is said about them, by file.
func documentedCode(t *testing.T) map[string]string {
	t.Helper()
	text := map[string]string{}
	for _, place := range []string{"README.md", "docs", "images", "samples"} {
		err := filepath.WalkDir(filepath.Join("..", "..", place), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			switch filepath.Ext(path) {
			case ".md":
				text[path] = markdownCode(string(content))
			case ".sh", ".yml", ".yaml":
				text[path] = regexp.MustCompile(`(?m)^\s*(#|description:).*$`).ReplaceAllString(string(content), "")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return text
}

// markdownCode is what stands in fences and between backticks, a line each.
func markdownCode(page string) string {
	var code []string
	fenced := false
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
		case fenced:
			code = append(code, strings.TrimSpace(line))
		default:
			for _, span := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
				code = append(code, span[1])
			}
		}
	}
	return strings.Join(code, "\n")
}
