package signpath

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/idna"
)

// A connection on which nothing has come for pingAfter is asked for a sign of life, and given up without one within pingTime:
// what a firewall forgets ends without a word.
const (
	pingAfter = 10 * time.Second
	pingTime  = 5 * time.Second
)

// connectVia builds the way to the API: proxy, TLS, dialer, transport.
func (c *Client) connectVia(api *url.URL) error {
	if err := checkScheme(api); err != nil {
		return fmt.Errorf("%s: %w", c.setting("SIGNPATH_API_URL"), err)
	}
	var err error
	if c.proxy, err = c.findProxy(api); err != nil {
		return err
	}
	c.dialer = &dialer{address: hostPort(api), timeout: c.cfg.Timeouts.HTTPRequest, idle: sync.OnceFunc(func() { _ = learnTypes() })}
	c.transport = &http.Transport{
		DialContext:         c.dialer.connect,
		TLSHandshakeTimeout: c.cfg.Timeouts.HTTPRequest,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: max(c.cfg.MaxParallel, 8),
		IdleConnTimeout:     90 * time.Second,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTime},
	}
	if c.proxy != nil {
		c.transport.Proxy = http.ProxyURL(c.proxy)
		c.transport.OnProxyConnectResponse = checkProxyAnswer
	}
	if api.Scheme != "https" {
		return nil
	}
	return c.secureConnections(asciiHost(api))
}

// secureConnections sets up TLS: the transport itself does it with the API in a proxy's
// tunnel, the dialer with whatever is reached directly.
func (c *Client) secureConnections(api string) error {
	secure, err := c.newSecure()
	if err != nil {
		return err
	}
	c.dialer.trust = secure.trust
	c.transport.TLSClientConfig = secure.config(api)
	switch {
	case c.proxy == nil:
		c.dialer.tls = secure.config(api, "h2", "http/1.1")
	case c.proxy.Scheme == "https":
		c.dialer.tls = secure.config(asciiHost(c.proxy))
	default:
		return nil
	}
	c.transport.DialTLSContext = c.dialer.connect
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

// checkScheme refuses what would show the token to the network.
func checkScheme(api *url.URL) error {
	switch api.Scheme {
	case "https":
		return nil
	case "http":
		if ip := net.ParseIP(api.Hostname()); api.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
			return nil
		}
		return errors.New("plain HTTP would show the API token to the network; use https")
	}
	return fmt.Errorf("unsupported protocol scheme %q; use https", api.Scheme)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(asciiHost(u), port)
}

// asciiHost is the host as DNS and certificates name it, without its port.
func asciiHost(u *url.URL) string {
	host := u.Hostname()
	if ascii, err := idna.Lookup.ToASCII(host); err == nil && strings.ContainsFunc(host, isNotASCII) {
		return ascii
	}
	return host
}

func isNotASCII(r rune) bool { return r > unicode.MaxASCII }

// findProxy applies http_proxy (also to an https API), https_proxy and no_proxy, which config
// has checked.
func (c *Client) findProxy(api *url.URL) (*url.URL, error) {
	settings := httpproxy.Config{
		HTTPProxy: c.cfg.HTTPProxy, HTTPSProxy: cmp.Or(c.cfg.HTTPSProxy, c.cfg.HTTPProxy), NoProxy: c.cfg.NoProxy,
	}
	proxy, err := settings.ProxyFunc()(api)
	if err != nil {
		return nil, fmt.Errorf("%s is not usable", c.proxySetting()) // its own text shows the log-in
	}
	return proxy, nil
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
