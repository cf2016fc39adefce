// Package signpath is the client of the signing service's REST API: it reads signing
// policies and turns each into a Key, a crypto.Signer whose signatures are made by the
// service over a digest that was computed here.
//
// A Client is safe for concurrent use. Nothing is requested before it is asked for, and
// nothing but the sign route that worked and the certificate chains is remembered. Final
// errors are returned and not logged; failed attempts that are repeated are logged.
package signpath

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"signkit/internal/caller"
	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/logging"
	"signkit/internal/version"
)

// Options are what a Client needs besides the settings. The zero value works.
type Options struct {
	Logger    *slog.Logger          // nil: nothing is logged
	Redactor  *logging.Redactor     // gets the token and proxy passwords; nil: one of its own
	Process   func() caller.Process // who asks for a signature; nil: not recorded
	UserAgent string                // "" is "signkit/VERSION (linux; amd64)"
	Record    event.Recorder        // gets each signature and each failure to sign; nil: nobody does

	// Dial opens every connection, to a proxy too; nil: as net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// For tests: time and randomness.
	now   func() time.Time
	sleep func(context.Context, time.Duration) error
	rand  func() float64
}

// Client talks to one organization of a signing service.
type Client struct {
	cfg      *config.Config
	log      *slog.Logger
	redactor *logging.Redactor
	process  func() caller.Process
	agent    string
	record   event.Recorder

	root      string // {ApiUrl}/v1/{OrganizationId}
	proxy     *url.URL
	turns     *turns
	transport *http.Transport // made by connectVia; then use inUse
	used      sync.Mutex      // guards the two transports
	left      *http.Transport // the one before; nil at first
	places    places          // for requests in flight

	route        atomic.Int32 // index+1 of the sign route that worked
	certificates shared[[]serviceCertificate]
	pause        pause

	withoutCertificate atomic.Bool // a server asked for a TLS client certificate and got none

	now   func() time.Time
	sleep func(context.Context, time.Duration) error
	rand  func() float64
}

// New checks what a connection needs (credentials, certificate files) and makes none; it
// begins to read the roots that servers are checked against. Its errors name the setting to
// change.
func New(cfg *config.Config, o Options) (*Client, error) {
	if err := cfg.CheckCredentials(); err != nil {
		return nil, err
	}
	if cfg.Agent != "" {
		cfg, o = throughAgent(cfg, o)
	}
	c := &Client{cfg: cfg, log: o.Logger, redactor: o.Redactor, process: o.Process, agent: o.UserAgent, record: o.Record, turns: newTurns(), places: places{free: cfg.MaxParallel},
		now: o.now, sleep: o.sleep, rand: o.rand}
	c.setDefaults()
	api, err := url.Parse(cfg.APIURL)
	if err != nil {
		return nil, fmt.Errorf("%s is not a URL", c.setting("SIGNPATH_API_URL"))
	}
	c.root = strings.TrimSuffix(cfg.APIURL, "/") + "/v1/" + url.PathEscape(cfg.OrganizationID)
	if err := c.connectVia(api, o.Dial); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Client) setDefaults() {
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.redactor == nil {
		c.redactor = new(logging.Redactor)
	}
	for _, secret := range c.cfg.Secrets() {
		c.redactor.Add(secret)
	}
	if c.agent == "" {
		c.agent = fmt.Sprintf("signkit/%s (%s; %s)", version.Version, runtime.GOOS, runtime.GOARCH)
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.sleep == nil {
		c.sleep = sleepContext
	}
	if c.rand == nil {
		c.rand = rand.Float64
	}
}

// Close closes idle connections. Calls in flight go on.
func (c *Client) Close() {
	c.used.Lock()
	defer c.used.Unlock()
	c.transport.CloseIdleConnections()
	if c.left != nil {
		c.left.CloseIdleConnections()
	}
}

// setting names a setting and where its value came from, for messages.
func (c *Client) setting(name string) string {
	if source := c.cfg.Source(name); source != "" && source != "default" && !strings.Contains(source, name) {
		return fmt.Sprintf("%s (from %s)", name, c.clean(source, 200))
	}
	return name
}

// call is one request below the organization's root.
type call struct {
	method      string
	path        string // escaped, without a leading slash
	query       url.Values
	contentType string
	body        []byte
	limit       int64 // largest answer in bytes; 0 is limitAnswer
}

func get(limit int64, segments ...string) call {
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return call{method: http.MethodGet, path: strings.Join(segments, "/"), limit: limit}
}

// path is what messages show of the call's URL.
func (c *Client) path(q call) string {
	path := c.root + "/" + q.path
	if u, err := url.Parse(path); err == nil {
		path = u.EscapedPath()
	}
	return c.clean(path, 300)
}

func (c *Client) request(ctx context.Context, q call) (*http.Request, error) {
	target := c.root + "/" + q.path
	if len(q.query) > 0 {
		target += "?" + q.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, q.method, target, bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	// For downloads too: services before 1.212 turn an error into a 500 when it is to be
	// told in another type.
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", c.agent)
	if c.cfg.Agent == "" { // which adds it
		r.Header.Set("Authorization", "Bearer "+c.cfg.APIToken.Reveal())
	}
	if q.contentType != "" {
		r.Header.Set("Content-Type", q.contentType)
	}
	return r, nil
}

// attempt makes one HTTP request, within the time limit, and reads all of the answer. Anything but a 2xx answer is an *Error.
func (c *Client) attempt(ctx context.Context, q call, limit time.Duration) (*answer, *Error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	a, sent, err := c.roundTrip(ctx, q)
	if err != nil {
		c.debug(ctx, "no answer", q, "error", c.clean(err.Error(), maxText))
		return nil, c.connectionError(q, err, sent, limit)
	}
	c.debug(ctx, "answer", q, "status", a.status, "bytes", len(a.body), "duration", time.Since(start))
	if a.status < 200 || a.status > 299 {
		return nil, c.statusError(q, a)
	}
	return a, nil
}

// debug logs an attempt; it costs nothing where such records are not wanted.
func (c *Client) debug(ctx context.Context, message string, q call, more ...any) {
	if !c.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	c.log.Debug(message, append([]any{"method", q.method, "path", c.path(q)}, more...)...)
}

// roundTrip uses the transport directly: no redirect is followed, so the token stays here.
// sent reports that the request had a connection, so the service may have seen it.
func (c *Client) roundTrip(ctx context.Context, q call) (_ *answer, sent bool, err error) {
	connected, err := c.turns.take(ctx)
	if err != nil {
		return nil, false, err
	}
	defer connected()
	var carried atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { carried.Store(true) },
		// Not in GotConn: only then do others find an HTTP/2 connection.
		WroteHeaders: connected,
	})
	r, err := c.request(ctx, q)
	if err != nil {
		return nil, false, err
	}
	transport := c.inUse()
	defer func() {
		if carried.Load() && isTimeout(err) {
			c.leave(transport)
		}
	}()
	response, err := transport.RoundTrip(r)
	if err != nil {
		return nil, carried.Load(), err
	}
	defer response.Body.Close()
	c.turns.learn(response)
	a, err := readAnswer(response, cmp.Or(q.limit, limitAnswer))
	return a, true, err
}

// redirectHint names the host that a refused redirect points to.
func (c *Client) redirectHint(location string) string {
	target, err := url.Parse(location)
	if location == "" || err != nil {
		return "redirects are not followed; check " + c.setting("SIGNPATH_API_URL")
	}
	where := "the same host"
	if target.Host != "" {
		where = target.Host
		if target.Scheme != "" {
			where = target.Scheme + "://" + where
		}
	}
	return fmt.Sprintf("redirects are not followed, because the API token would travel to %s; check %s",
		c.clean(where, 200), c.setting("SIGNPATH_API_URL"))
}

// asError finds the *Error in err.
func asError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
