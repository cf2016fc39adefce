package mockapi

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Request is one request the service was sent.
type Request struct {
	Method     string `json:"method"`
	Path       string `json:"path"` // unescaped, without the query
	Query      string `json:"query,omitempty"`
	Status     int    `json:"status"`     // 0 as long as there is no answer, and for ever under the faults hang and reset
	Connection int    `json:"connection"` // a number per TCP connection
}

// requestLog lists requests in the order in which they arrived.
type requestLog struct {
	connections atomic.Int64

	mu   sync.Mutex
	list []*Request
}

type connectionKey struct{}

// connection is what the context of every request knows of its connection.
type connection struct {
	number int
	conn   net.Conn
}

// number gives each TCP connection its number; it is the http.Server's ConnContext.
func (l *requestLog) number(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{int(l.connections.Add(1)), conn})
}

// record notes every request as it arrives, and its status before the first byte of the answer goes out,
// so that whoever has an answer also finds it in the list. At the end it prints the entry.
func (l *requestLog) record(next http.HandlerFunc, print func(Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		entry := &Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery}
		if c, ok := r.Context().Value(connectionKey{}).(*connection); ok {
			entry.Connection = c.number
		}
		l.mu.Lock()
		l.list = append(l.list, entry)
		l.mu.Unlock()
		defer func() { print(l.copyOf(entry)) }() // also where next breaks the connection off
		next(&statusWriter{ResponseWriter: w, log: l, entry: entry}, r)
	}
}

func (l *requestLog) copyOf(r *Request) Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *r
}

func (l *requestLog) snapshot() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Request, 0, len(l.list))
	for _, r := range l.list {
		out = append(out, *r)
	}
	return out
}

func (l *requestLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}

// statusWriter tells the log the status.
type statusWriter struct {
	http.ResponseWriter
	log   *requestLog
	entry *Request
}

func (w *statusWriter) WriteHeader(status int) {
	w.log.mu.Lock()
	if w.entry.Status == 0 {
		w.entry.Status = status
	}
	w.log.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Requests returns the requests since the start or the last ClearRequests, in
// the order of their arrival. Calls of the admin side are not among them.
func (s *Server) Requests() []Request { return s.requests.snapshot() }

// ClearRequests empties that list.
func (s *Server) ClearRequests() { s.requests.clear() }
