package signpath

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"signkit/internal/key"
)

const (
	maxText  = 500 // characters of one text of the service in an error or a log record
	maxTexts = 8   // texts in one error

	limitError  int64 = 64 << 10 // bytes of an error that are read
	limitAnswer int64 = 1 << 20  // bytes of one answer
	limitList   int64 = 32 << 20 // bytes of a list of policies or certificates
)

// answer is a complete HTTP answer.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// readAnswer reads all of the body, which must not be longer than limit bytes; of an error
// it reads only the start.
func readAnswer(r *http.Response, limit int64) (*answer, error) {
	isError := r.StatusCode > 299
	if isError {
		limit = limitError
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer after %d bytes: %w", len(body), err)
	}
	if int64(len(body)) > limit && !isError {
		return nil, &tooLargeError{limit}
	}
	return &answer{status: r.StatusCode, header: r.Header, body: body}, nil
}

type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the answer is larger than %d bytes", e.limit)
}

// decode reads a JSON answer of whatever content type into v. Property names are matched
// in any case, unknown ones ignored.
func (c *Client) decode(q call, a *answer, v any) error {
	body := bytes.TrimPrefix(bytes.TrimSpace(a.body), []byte("\xef\xbb\xbf"))
	err := json.Unmarshal(body, v)
	if err == nil {
		return nil
	}
	e := &Error{failure: failure{Kind: key.UnusableAnswer}, Method: q.method, Path: c.path(q), Status: a.status, Cause: err}
	if isHTML(a.header, body) {
		e.cause = "a web page instead of JSON" + c.pageTitle(body)
		e.failure = c.notTheAPI()
		return e
	}
	what := readable(a.body)
	if isText(a.body) {
		what = fmt.Sprintf("%v: %s", err, body)
	}
	e.cause = c.clean("not the JSON that was expected: "+what, maxText)
	return e
}

// notTheAPI is the failure where something else than the API has answered.
func (c *Client) notTheAPI() failure {
	return failure{Kind: key.UnusableAnswer, Hint: c.setting("SIGNPATH_API_URL") + " probably does not point at the API"}
}

// readable is a body as text. Of one that is no text, only its size is of use to a person.
func readable(body []byte) string {
	if isText(body) {
		return string(body)
	}
	return fmt.Sprintf("%d bytes that are no text", len(body))
}

// isText forgives single characters: a body may have been cut within one.
func isText(body []byte) bool {
	all, strange := 0, 0
	for _, r := range string(body[:min(len(body), 4*maxText)]) {
		all++
		if r == utf8.RuneError || r == 0 {
			strange++
		}
	}
	return strange <= max(2, all/8)
}

func isHTML(h http.Header, body []byte) bool {
	return strings.Contains(strings.ToLower(h.Get("Content-Type")), "html") || bytes.HasPrefix(body, []byte("<"))
}

var titlePattern = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

func (c *Client) pageTitle(body []byte) string {
	title := titlePattern.FindSubmatch(body)
	if title == nil {
		return ""
	}
	return fmt.Sprintf(" (%s)", c.clean(html.UnescapeString(string(title[1])), 100))
}

// problem is an error body: RFC 9457 problem details with the service's validation errors,
// or plain text from older services.
type problem struct {
	Title   string
	Detail  string
	TraceID string
	Errors  map[string][]string
	text    string
	html    bool
}

// readProblem never fails: what it cannot read as JSON becomes text.
func readProblem(h http.Header, body []byte) problem {
	body = bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf"))
	p := problem{text: readable(body), html: isHTML(h, body)}
	if p.html {
		if title := titlePattern.FindSubmatch(body); title != nil {
			p.text = html.UnescapeString(string(title[1]))
		}
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		var text string // an older service may send a JSON string
		if json.Unmarshal(body, &text) == nil {
			p.text = text
		}
		return p
	}
	for name, raw := range fields {
		switch strings.ToLower(name) {
		case "title":
			p.Title = jsonText(raw)
		case "detail":
			p.Detail = jsonText(raw)
		case "traceid":
			p.TraceID = jsonText(raw)
		case "errors":
			p.Errors = readFieldErrors(raw)
		}
	}
	return p
}

// readFieldErrors accepts lists of texts and single texts.
func readFieldErrors(raw json.RawMessage) map[string][]string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return nil
	}
	errors := make(map[string][]string, len(fields))
	for name, value := range fields {
		var list []json.RawMessage
		if json.Unmarshal(value, &list) != nil {
			list = []json.RawMessage{value}
		}
		errors[name] = []string{}
		for _, text := range list {
			errors[name] = append(errors[name], jsonText(text))
		}
	}
	return errors
}

// jsonText is the string itself, or any other JSON value as it is written; null is empty.
func jsonText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

func (p problem) fields() []string {
	names := make([]string, 0, len(p.Errors))
	for name := range p.Errors {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// texts are the validation errors sorted by field, detail, title, else the body itself.
func (p problem) texts(clean func(string, int) string) []string {
	var texts []string
	add := func(text string) {
		if text = clean(text, maxText); text != "" && len(texts) < maxTexts && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	for _, field := range p.fields() {
		for _, text := range p.Errors[field] {
			add(text)
		}
	}
	add(p.Detail)
	add(p.Title)
	if len(texts) == 0 {
		add(p.text)
	}
	return texts
}

// clean makes foreign text fit for a terminal and a log: secrets redacted (before anything
// is cut, so that no half of one remains), control characters escaped, at most max characters.
func (c *Client) clean(text string, max int) string {
	text = strings.TrimSpace(c.redactor.Redact(text))
	if len(text) <= max && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return text
	}
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > max {
			b.WriteString("…")
			break
		}
		b.WriteString(printable(r))
	}
	return b.String()
}

func printable(r rune) string {
	switch {
	case r == '\n' || r == '\r' || r == '\t':
		return " "
	case r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
		return fmt.Sprintf(`\u%04x`, r)
	}
	return string(r)
}
