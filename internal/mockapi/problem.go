package mockapi

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// problem is an error answer (RFC 9457).
type problem struct {
	Type    string              `json:"type"`
	Title   string              `json:"title"`
	Status  int                 `json:"status"`
	Detail  string              `json:"detail,omitempty"`
	TraceID string              `json:"traceId"`
	Errors  map[string][]string `json:"errors,omitempty"`
	header  http.Header
}

func (p *problem) Error() string { return fmt.Sprintf("%d %s", p.Status, p.text()) }

// text is what services older than problem+json sent as the body.
func (p *problem) text() string {
	var lines []string
	for _, texts := range p.Errors {
		lines = append(lines, texts...)
	}
	slices.Sort(lines)
	if len(lines) == 0 && p.Detail != "" {
		lines = []string{p.Detail}
	}
	if len(lines) == 0 {
		lines = []string{p.Title}
	}
	return strings.Join(lines, "\n")
}

func newProblem(status int, detail string) *problem {
	return &problem{Type: problemType(status), Title: http.StatusText(status), Status: status, Detail: detail, header: http.Header{}}
}

// invalid is a 400 that blames a field; the empty name blames the request as a whole.
func invalid(field, format string, args ...any) *problem {
	p := newProblem(http.StatusBadRequest, "")
	p.Title = "One or more validation errors occurred."
	p.Errors = map[string][]string{field: {fmt.Sprintf(format, args...)}}
	return p
}

func forbidden(format string, args ...any) *problem {
	return newProblem(http.StatusForbidden, fmt.Sprintf(format, args...))
}

func notFound(format string, args ...any) *problem {
	return newProblem(http.StatusNotFound, fmt.Sprintf(format, args...))
}

func unauthorized(detail string) *problem {
	p := newProblem(http.StatusUnauthorized, detail)
	p.header.Set("WWW-Authenticate", "Bearer")
	return p
}

// problemType names the section of the standard that defines the status.
func problemType(status int) string {
	section, ok := map[int]string{
		400: "15.5.1", 401: "15.5.2", 403: "15.5.4", 404: "15.5.5", 405: "15.5.6", 409: "15.5.10",
		413: "15.5.14", 415: "15.5.16", 500: "15.6.1", 502: "15.6.3", 503: "15.6.4", 504: "15.6.5",
	}[status]
	if !ok {
		return "about:blank"
	}
	return "https://tools.ietf.org/html/rfc9110#section-" + section
}

// writeProblem sends p as problem+json, or as plain text for 4xx of an old service.
func (s *Server) writeProblem(w http.ResponseWriter, p *problem) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	if s.cfg.ErrorStyle == "plain" && p.Status < 500 {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(p.Status)
		fmt.Fprintln(w, p.text())
		return
	}
	sent := *p
	sent.TraceID = newTraceID()
	w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(sent)
}

// newTraceID returns an identifier in the form of W3C Trace Context.
func newTraceID() string {
	var b [24]byte
	rand.Read(b[:])
	return fmt.Sprintf("00-%x-%x-00", b[:16], b[16:])
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(body) // a client that has gone is not our error
	return nil
}
