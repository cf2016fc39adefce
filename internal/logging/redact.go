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
	pattern atomic.Pointer[regexp.Regexp]
}

// Add makes Redact hide the secret from now on: the whole string, raw or with any of
// its punctuation percent-encoded (RFC 3986, section 2.1) or escaped as in JSON.
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
	forms := make([]string, len(r.secrets))
	for i, s := range r.secrets {
		forms[i] = anyEncoding(s)
	}
	r.pattern.Store(regexp.MustCompile(strings.Join(forms, "|")))
}

// Redact returns s with every known secret replaced by Redacted.
func (r *Redactor) Redact(s string) string {
	if r == nil {
		return s
	}
	pattern := r.pattern.Load()
	if pattern == nil {
		return s
	}
	return pattern.ReplaceAllLiteralString(s, Redacted)
}

// anyEncoding returns a regular expression that matches the secret however its
// punctuation is encoded: a URL, a form and a .NET JSON writer each choose differently.
func anyEncoding(secret string) string {
	var b strings.Builder
	for _, c := range secret {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
			b.WriteRune(c)
		default:
			percent := fmt.Sprintf("% x", string(c)) // the bytes of its UTF-8 form
			percent = "%" + strings.ReplaceAll(percent, " ", "%")
			fmt.Fprintf(&b, `(?:\\?%s|(?i:%s|\\u%04x))`, regexp.QuoteMeta(string(c)), percent, c)
		}
	}
	return b.String()
}
