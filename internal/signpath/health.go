package signpath

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

// limitHealth bounds the answer of the health route: a word.
const limitHealth = 4 << 10

// Health is what one request without credentials shows of the service and the way to it.
type Health struct {
	Proxy        string              // the proxy that was used, without its log-in; "" for none
	Status       int                 // HTTP status
	Text         string              // start of the answer
	Ahead        time.Duration       // by how much this machine's clock is ahead of the service's, to about a second; 0 if it sent no date
	Certificates []*x509.Certificate // of the server, leaf first; nil without TLS
	Elapsed      time.Duration       // of the request, connecting included
}

// Proxied reports whether requests go through a proxy: one is set, and no_proxy does not name
// the service's host.
func (c *Client) Proxied() bool { return c.proxy != nil }

// Health asks the service's health route once, without retrying and without the token. The
// error is an *Error with a hint; an answer of any status is none.
func (c *Client) Health(ctx context.Context) (*Health, error) {
	q := call{method: http.MethodGet, path: "healthz", limit: limitHealth}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeouts.HTTPRequest)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, q.method, strings.TrimSuffix(c.cfg.APIURL, "/")+"/"+q.path, nil)
	if err != nil {
		return nil, c.connectionError(q, err, false, c.cfg.Timeouts.HTTPRequest)
	}
	r.Header.Set("User-Agent", c.agent)
	var carried atomic.Bool
	start := time.Now()
	response, err := c.inUse().RoundTrip(r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { carried.Store(true) },
	})))
	if err != nil {
		return nil, c.connectionError(q, err, carried.Load(), c.cfg.Timeouts.HTTPRequest)
	}
	defer response.Body.Close()
	a, err := readAnswer(response, limitHealth)
	if err != nil {
		return nil, c.connectionError(q, err, true, c.cfg.Timeouts.HTTPRequest)
	}
	h := &Health{Status: a.status, Text: c.clean(string(a.body), 200), Elapsed: time.Since(start)}
	if c.proxy != nil {
		h.Proxy = c.proxy.Scheme + "://" + c.proxy.Host
	}
	if response.TLS != nil {
		h.Certificates = response.TLS.PeerCertificates
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		h.Ahead = time.Since(date).Truncate(time.Second)
	}
	return h, nil
}
