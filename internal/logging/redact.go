package logging

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Redacted stands where a secret was.
const Redacted = "[redacted]"

// shortestSecret is the least length in bytes that is searched for: hiding every
// occurrence of a shorter text would garble records and reveal it by the gaps.
const shortestSecret = 4

// Redactor replaces secrets in text. It is a safety net behind types and rules that
// keep secrets out of records in the first place. The zero value knows no secret; a
// nil Redactor is usable and changes nothing. It is safe for concurrent use.
type Redactor struct {
	mu      sync.Mutex
	secrets []string
	known   atomic.Pointer[redaction]
}

// redaction looks for a fixed set of secrets. Nearly all texts hold none of the needles
// and are left alone; the pattern is compiled for the first that does.
type redaction struct {
	needles []string // of each secret the part that no encoding changes
	pattern func() *regexp.Regexp
}

// Add makes Redact hide the secret from now on: the whole string, raw or with any of
// its punctuation percent-encoded (RFC 3986, section 2.1), or escaped as in JSON or HTML.
// Strings under four bytes are ignored.
func (r *Redactor) Add(secret string) {
	if r == nil || len(secret) < shortestSecret {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.secrets, secret) {
		return
	}
	r.secrets = append(r.secrets, secret)
	// RE2 prefers the first alternative: the longer one must win over its own prefix.
	slices.SortStableFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
	r.known.Store(newRedaction(slices.Clone(r.secrets)))
}

func newRedaction(secrets []string) *redaction {
	known := new(redaction)
	for _, secret := range secrets {
		known.needles = append(known.needles, needle(secret))
	}
	known.pattern = sync.OnceValue(func() *regexp.Regexp {
		forms := make([]string, len(secrets))
		for i, s := range secrets {
			forms[i] = anyEncoding(s)
		}
		return regexp.MustCompile(strings.Join(forms, "|"))
	})
	return known
}

// Redact returns s with every known secret replaced by Redacted.
func (r *Redactor) Redact(s string) string {
	if r == nil {
		return s
	}
	known := r.known.Load()
	if known == nil || !slices.ContainsFunc(known.needles, func(n string) bool { return strings.Contains(s, n) }) {
		return s
	}
	return known.pattern().ReplaceAllLiteralString(s, Redacted)
}

// needle is the longest run of letters and digits, which anyEncoding leaves alone; it is
// empty, and so in every text, if the secret has none.
func needle(secret string) string {
	longest := ""
	for _, run := range strings.FieldsFunc(secret, func(c rune) bool { return !plain(c) }) {
		if len(run) > len(longest) {
			longest = run
		}
	}
	return longest
}

// plain reports whether a character is the same in every encoding.
func plain(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// namedEntity is HTML's name of a character of base64 and of what HTML must not have plain, as one more alternative.
func namedEntity(c rune) string {
	name := map[rune]string{'+': "plus", '/': "sol", '=': "equals", '&': "amp", '<': "lt", '>': "gt", '"': "quot", '\'': "apos"}[c]
	if name == "" {
		return ""
	}
	return "|&" + name + ";"
}

// anyEncoding returns a regular expression that matches the secret however its
// punctuation is encoded: a URL, a form, a .NET JSON writer and an HTML page each choose differently.
func anyEncoding(secret string) string {
	var b strings.Builder
	for _, c := range secret {
		if plain(c) {
			b.WriteRune(c)
			continue
		}
		percent := fmt.Sprintf("% x", string(c)) // the bytes of its UTF-8 form
		percent = "%" + strings.ReplaceAll(percent, " ", "%")
		fmt.Fprintf(&b, `(?:\\?%s|(?i:%s|\\u%04x|&#0*%d;|&#x0*%x;%s))`, regexp.QuoteMeta(string(c)), percent, c, c, c, namedEntity(c))
	}
	return b.String()
}
