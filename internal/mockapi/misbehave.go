package mockapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"time"
)

const loginPage = `<!DOCTYPE html>
<html><head><title>Network log-in</title></head><body><h1>Please log in to use the network</h1></body></html>
`

// misbehave applies the next fault of a route and reports whether that was the
// whole answer. Faults that change the signature are left to the handler. The
// endpoint and err are what the request would get otherwise.
func (s *Server) misbehave(c *call, e *endpoint, route string, err error) bool {
	f := s.faults.take(route)
	if f == nil {
		return false
	}
	switch f.Kind {
	case faultStatus:
		s.answerStatus(c.w, f)
	case faultDelay:
		return !s.pause(c.r.Context(), time.Duration(f.MS)*time.Millisecond)
	case faultHang:
		s.hang(c.r.Context())
	case faultReset:
		reset(c.r.Context())
	case faultGarbage:
		var noise [256]byte
		rand.Read(noise[:])
		noise[0] = 0xff // never the start of a web page
		respond(c.w, f, "application/json", noise[:])
	case faultHTML:
		respond(c.w, f, "text/html; charset=utf-8", []byte(loginPage))
	case faultTruncated:
		s.truncate(c, e, err)
	default:
		c.fault = f
		return false
	}
	return true
}

func (s *Server) answerStatus(w http.ResponseWriter, f *Fault) {
	status := f.Status
	if status == 0 {
		status = http.StatusServiceUnavailable
	}
	p := newProblem(status, "This answer was asked for (fault injection).")
	if f.RetryAfter != "" {
		p.header.Set("Retry-After", string(f.RetryAfter))
	}
	s.writeProblem(w, p)
}

func respond(w http.ResponseWriter, f *Fault, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(max(f.Status, http.StatusOK))
	w.Write(body)
}

// pause waits and reports whether the time passed before the client went or the service stopped.
func (s *Server) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.stopping.Done():
	}
	return false
}

// hang waits for the end of the client or of the service, and then breaks the request off.
func (s *Server) hang(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-s.stopping.Done():
	}
	panic(http.ErrAbortHandler)
}

// reset sends a TCP RST: closing with a linger time of zero throws away what is unsent.
func reset(ctx context.Context) {
	if c, ok := ctx.Value(connectionKey{}).(*connection); ok {
		conn := c.conn
		if t, ok := conn.(*tls.Conn); ok {
			conn = t.NetConn()
		}
		if t, ok := conn.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
		conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// truncate announces the right answer in full and sends half of it.
func (s *Server) truncate(c *call, e *endpoint, err error) {
	w := c.w
	whole := &recorder{header: w.Header(), status: http.StatusOK}
	c.w = whole
	s.answer(c, e, err)
	w.Header().Set("Content-Length", strconv.Itoa(whole.body.Len()))
	w.WriteHeader(whole.status)
	w.Write(whole.body.Next(whole.body.Len() / 2))
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// recorder keeps an answer instead of sending it.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
