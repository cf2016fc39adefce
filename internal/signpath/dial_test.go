package signpath

import (
	"context"
	"crypto"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// waitPrepared waits for the background dial and returns its error.
func (c *testClient) waitPrepared(t *testing.T) error {
	t.Helper()
	c.dialer.mu.Lock()
	p := c.dialer.prepared
	c.dialer.mu.Unlock()
	if p == nil {
		t.Fatal("nothing is prepared")
	}
	await(t, p.done)
	return p.err
}

func emptyPolicies(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{"signingPolicies": []any{}})
}

func (c *testClient) mustList(t *testing.T) {
	t.Helper()
	if _, err := c.Policies(t.Context(), Filter{}); err != nil {
		t.Error(err)
	}
}

func TestPreparedConnectionIsUsed(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		s := newService(t, http2)
		s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
		s.handleRoute(routeC, signHashHandler(t))
		c := newTestClient(t, s.config())
		c.Prepare(t.Context())
		c.Prepare(t.Context()) // a second one changes nothing
		if err := c.waitPrepared(t); err != nil || len(s.seen()) != 0 {
			t.Fatalf("%v, requests %v", err, s.seen())
		}
		c.mustList(t)
		for range 3 {
			if _, err := c.key("p-256").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.connections.Load(); n != 1 || len(s.seen()) != 4 {
			t.Errorf("HTTP/2 %v: %d connections for %v", http2, n, s.seen())
		}
	}
}

// TestRequestWaitsForThePreparedConnection that is still being opened.
func TestRequestWaitsForThePreparedConnection(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
	c := newTestClient(t, s.config())
	c.Prepare(t.Context())
	var group sync.WaitGroup
	for range 12 {
		group.Go(func() { c.mustList(t) })
	}
	group.Wait()
	if n := s.connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestConcurrentFirstRequestsShareAConnection(t *testing.T) {
	for range 20 {
		s := newService(t, true)
		s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
		cfg := s.config()
		cfg.MaxParallel = 16
		c := newTestClient(t, cfg)
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() { c.mustList(t) })
		}
		group.Wait()
		if n := s.connections.Load(); n != 1 {
			t.Fatalf("%d connections", n)
		}
	}
}

// TestHTTP1UsesSeveralConnections: without HTTP/2 requests at the same time need more than one.
func TestHTTP1UsesSeveralConnections(t *testing.T) {
	s := newService(t, false)
	var arrived atomic.Int32
	all := make(chan struct{})
	s.handle("GET", "Cryptoki/MySigningPolicies", func(w http.ResponseWriter, r *http.Request) {
		if arrived.Add(1) == 3 {
			close(all)
		}
		select {
		case <-all: // each waits for the others
		case <-r.Context().Done():
		}
		emptyPolicies(w, r)
	})
	c := newTestClient(t, s.config())
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { c.mustList(t) })
	}
	group.Wait()
	if n := s.connections.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}

func TestPreparedConnectionThatTheServerClosed(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
	c := newTestClient(t, s.config())
	c.Prepare(t.Context())
	if err := c.waitPrepared(t); err != nil {
		t.Fatal(err)
	}
	s.CloseClientConnections()
	for established(c.dialer.prepared.conn) { // until the kernel knows
	}
	c.mustList(t)
	if n := s.connections.Load(); n != 2 || len(c.clock.waits()) != 0 {
		t.Errorf("%d connections, waits %v", n, c.clock.waits())
	}
}

func TestPreparedConnectionThatIsTooOld(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
	c := newTestClient(t, s.config())
	c.Prepare(t.Context())
	if err := c.waitPrepared(t); err != nil {
		t.Fatal(err)
	}
	c.dialer.prepared.born = c.dialer.prepared.born.Add(-2 * preparedLife)
	c.mustList(t)
	if n := s.connections.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestFailedPreparationIsForgotten(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
	c := newTestClient(t, s.config())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Prepare(ctx)
	if err := c.waitPrepared(t); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	c.mustList(t)
}

func TestCloseDropsThePreparedConnection(t *testing.T) {
	s := newService(t, true)
	c := newTestClient(t, s.config())
	c.Prepare(t.Context())
	p := c.dialer.prepared
	await(t, p.done)
	c.Close()
	until(t, "it is closed in the background", func() bool {
		c.dialer.mu.Lock()
		defer c.dialer.mu.Unlock()
		return c.dialer.live == 0
	})
	if established(p.conn) {
		t.Error("still open")
	}
}

func TestConnectionRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	s := newService(t, true)
	cfg := s.config()
	cfg.APIURL, cfg.Timeouts.RetryCount = "https://"+listener.Addr().String()+"/Api", 2
	c := newTestClient(t, cfg)
	_, err = c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256)
	var e *Error
	if !errors.As(err, &e) || !e.Transient || e.Status != 0 || len(c.clock.waits()) != 2 {
		t.Errorf("%v, waits %v", err, c.clock.waits())
	}
	if e.unknown {
		t.Error("a request that was never sent counts as one with unknown fate")
	}
}

// TestFirstAnswerIsWaitedForUsefully: what can be done meanwhile is done once, when the
// connection has sent something and waits.
func TestFirstAnswerIsWaitedForUsefully(t *testing.T) {
	if err := learnTypes(); err != nil {
		t.Error(err)
	}
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
	c := newTestClient(t, s.config())
	idle := 0
	c.dialer.idle = func() { idle++ }
	c.Prepare(t.Context())
	if err := c.waitPrepared(t); err != nil || idle != 1 {
		t.Errorf("%v, done %d times when TLS is there", err, idle)
	}
	c.mustList(t)
	if idle != 1 {
		t.Errorf("done %d times for one connection", idle)
	}
}
