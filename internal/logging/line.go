package logging

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
)

// Line makes text that came from outside (slugs, user ids, file names, the service's words) one line that means nothing to a
// terminal, whose control characters it writes as in a Go string, or to a CI system that reads the log: GitHub obeys
// lines that begin with "::", and it, Azure and TeamCity obey "##[" and "##word[", some of them anywhere in a line. GitLab's
// sections need control characters. Text that is harmless stays as it is, and so does what Line returned.
func Line(s string) string {
	s = withoutCommands(string(appendEscaped(nil, s)))
	if start := strings.TrimLeftFunc(s, unicode.IsSpace); strings.HasPrefix(start, "::") {
		s = s[:len(s)-len(start)] + `\x3a` + start[1:]
	}
	return s
}

// JSON does for a JSON document what Line does for text. It means the same afterwards: only strings can have what it rewrites.
func JSON(document []byte) []byte {
	var b strings.Builder
	for _, r := range withoutCommandsAs(string(document), `\u0023`) {
		if r == '\n' || r == ' ' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return []byte(b.String())
}

var command = regexp.MustCompile(`##+[A-Za-z]*\[`)

func withoutCommands(s string) string { return withoutCommandsAs(s, `\x23`) }

func withoutCommandsAs(s, hash string) string {
	if !strings.Contains(s, "##") {
		return s
	}
	return command.ReplaceAllStringFunc(s, func(found string) string {
		last := strings.LastIndexByte(found, '#')
		return found[:last] + hash + found[last+1:]
	})
}
