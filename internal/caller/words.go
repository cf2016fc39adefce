package caller

import (
	"strings"
	"unicode"
)

// word is one word of a script: the white space before it, its text as written, and
// without the shell's quotes.
type word struct{ space, raw, plain string }

// splitWords splits at white space outside of quotes, about as a shell does (POSIX Shell
// Command Language, section 2.2). An open quote ends with the text.
func splitWords(text string) []word {
	var words []word
	for text != "" {
		space := len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace))
		raw, plain := cutWord(text[space:])
		words = append(words, word{text[:space], raw, plain})
		text = text[space+len(raw):]
	}
	return words
}

// cutWord returns the first word as it is written, and without quotes.
func cutWord(text string) (raw, plain string) {
	var b strings.Builder
	quote, escaped := rune(0), false
	for i, r := range text {
		switch {
		case escaped:
			b.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote = r
		case quote == 0 && unicode.IsSpace(r):
			return text[:i], b.String()
		default:
			b.WriteRune(r)
		}
	}
	return text, b.String()
}
