// Command linkcheck looks for links of Markdown pages that lead nowhere: to files and folders
// that do not exist, and to headings that a page does not have. Addresses on the web are not
// asked for.
//
// usage: linkcheck PAGE.md…
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

func main() {
	broken := 0
	for _, page := range os.Args[1:] {
		problems, err := check(page)
		if err != nil {
			problems = append(problems, err.Error())
		}
		for _, problem := range problems {
			fmt.Printf("%s: %s\n", page, problem)
		}
		broken += len(problems)
	}
	if len(os.Args) == 1 || broken > 0 {
		fmt.Fprintf(os.Stderr, "linkcheck: %d broken links in %d pages\n", broken, len(os.Args)-1)
		os.Exit(1)
	}
}

// link finds [text](target); code finds what is not prose.
var (
	link = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	code = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
)

func check(page string) (problems []string, err error) {
	data, err := os.ReadFile(page)
	if err != nil {
		return nil, err
	}
	prose := code.ReplaceAllStringFunc(string(data), func(s string) string { return strings.Repeat(" ", len(s)) })
	for _, match := range link.FindAllStringSubmatch(prose, -1) {
		if problem := follow(page, match[1]); problem != "" {
			problems = append(problems, problem)
		}
	}
	return problems, nil
}

// follow returns what is wrong with one link; "" if nothing is.
func follow(page, target string) string {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return ""
	}
	file, heading, _ := strings.Cut(target, "#")
	path := page
	if file != "" {
		path = filepath.Join(filepath.Dir(page), file)
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Sprintf("%s: no such file", target)
	}
	if heading == "" {
		return ""
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprintf("%s: %v", target, err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") && anchor(line) == heading {
			return ""
		}
	}
	return fmt.Sprintf("%s: the page has no such heading", target)
}

// anchor is the name that GitHub and GitLab give a heading.
func anchor(line string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#"))) {
		switch {
		case unicode.IsLetter(c), unicode.IsDigit(c), c == '-', c == '_':
			b.WriteRune(c)
		case c == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}
