package logging

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// longestRecord bounds the text of one record, in bytes: an answer of the service may
// be quoted in it.
const longestRecord = 64 << 10

// shorten cuts what exceeds longestRecord and says how much that was.
func shorten(text string) string {
	if len(text) <= longestRecord {
		return text
	}
	end := longestRecord
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes left out)", text[:end], len(text)-end)
}

// appendEscaped appends free text so that it stays on one line and no terminal
// interprets it: what is not printable is written as in a Go string.
func appendEscaped(dst []byte, s string) []byte {
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			dst = fmt.Appendf(dst, `\x%02x`, s[i])
		case r == ' ' || unicode.IsPrint(r):
			dst = utf8.AppendRune(dst, r)
		default:
			quoted := strconv.QuoteRune(r)
			dst = append(dst, quoted[1:len(quoted)-1]...)
		}
	}
	return dst
}

// appendAttr appends " key=value", and one such pair for each member of a group.
func appendAttr(dst []byte, prefix string, a slog.Attr, redactor *Redactor) []byte {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range value.Group() {
			dst = appendAttr(dst, prefix, member, redactor)
		}
		return dst
	}
	if a.Equal(slog.Attr{}) {
		return dst
	}
	dst = append(dst, ' ')
	dst = appendValue(dst, prefix+a.Key)
	dst = append(dst, '=')
	return appendValue(dst, redactor.Redact(valueText(value)))
}

func valueText(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().UTC().Format(time.RFC3339Nano)
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			return err.Error()
		}
	}
	return v.String()
}

// appendValue appends the text bare when it is one plain word, and quoted otherwise.
func appendValue(dst []byte, s string) []byte {
	plain := s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r == ' ' || r == '"' || r == '=' || r == '\\' || !unicode.IsPrint(r)
	})
	if plain {
		return append(dst, s...)
	}
	return strconv.AppendQuote(dst, s)
}
