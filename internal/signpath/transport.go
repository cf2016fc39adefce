package signpath

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// A connection on which nothing has come for pingAfter is asked for a sign of life, and given up without one within pingTime:
// what a firewall forgets ends without a word.
const (
	pingAfter = 10 * time.Second
	pingTime  = 5 * time.Second
)

// dialFunc opens a connection, as net.Dialer.DialContext does.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// connectVia builds the way to the API: proxy, TLS, transport. A nil dial is net.Dialer's.
func (c *Client) connectVia(api *url.URL, dial dialFunc) error {
	proxy := httpproxy.Config{HTTPSProxy: cmp.Or(c.cfg.HTTPSProxy, c.cfg.HTTPProxy), NoProxy: c.cfg.NoProxy}
	var err error
	if c.proxy, err = proxy.ProxyFunc()(api); err != nil {
		return fmt.Errorf("%s is not usable", c.proxySetting()) // its own text shows the log-in
	}
	// A connection goes on opening for the next request when the one that wanted it has ended, whose
	// own limit comes first; this ends one that leads nowhere.
	limit := 2 * c.cfg.Timeouts.HTTPRequest
	if dial == nil {
		dial = (&net.Dialer{Timeout: limit}).DialContext
	}
	c.transport = &http.Transport{
		DialContext:         dial,
		TLSHandshakeTimeout: limit,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: max(c.cfg.MaxParallel, 8),
		IdleConnTimeout:     90 * time.Second,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTime},
	}
	if c.proxy != nil {
		c.transport.Proxy = http.ProxyURL(c.proxy)
		c.transport.OnProxyConnectResponse = checkProxyAnswer
	}
	if api.Scheme == "https" {
		return c.useTLS(c.transport)
	}
	return nil
}

// inUse is the transport for new requests.
func (c *Client) inUse() *http.Transport {
	c.used.Lock()
	defer c.used.Unlock()
	return c.transport
}

// leave makes new requests open new connections: one of t's has not answered in time, and HTTP/2 would go on using it. What waits
// on them still may be answered, so they are not closed.
func (c *Client) leave(t *http.Transport) {
	c.used.Lock()
	defer c.used.Unlock()
	if c.transport != t {
		return // somebody else has left it
	}
	if c.left != nil {
		c.left.CloseIdleConnections()
	}
	c.transport, c.left = t.Clone(), t
	t.CloseIdleConnections()
}

// turns let one request at a time take its connection, so that those which start together
// share one where HTTP/2 allows it: a transport by itself opens one for each.
type turns struct {
	taken chan struct{} // of length 1: a request has none yet
	apart chan struct{} // closed when the service speaks HTTP/1.1: each request needs its own
	once  sync.Once     // closes apart
}

func newTurns() *turns {
	return &turns{taken: make(chan struct{}, 1), apart: make(chan struct{})}
}

// take waits for this request's turn. The caller calls connected when it has its connection,
// or will get none.
func (t *turns) take(ctx context.Context) (connected func(), err error) {
	select {
	case <-t.apart:
		return func() {}, nil
	case t.taken <- struct{}{}:
		return sync.OnceFunc(func() { <-t.taken }), nil
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
}

// learn looks at an answer's protocol.
func (t *turns) learn(answer *http.Response) {
	if answer.ProtoMajor == 1 {
		t.once.Do(func() { close(t.apart) })
	}
}

// proxySetting names the setting that the proxy came from.
func (c *Client) proxySetting() string {
	if c.cfg.HTTPSProxy != "" {
		return c.setting("https_proxy")
	}
	return c.setting("http_proxy")
}

// proxyError is a proxy's refusal to connect to the API.
type proxyError struct {
	host   string
	status int
}

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy %s answered %s", e.host, statusText(e.status))
}

func checkProxyAnswer(_ context.Context, proxy *url.URL, _ *http.Request, r *http.Response) error {
	if r.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{host: proxy.Host, status: r.StatusCode}
}
