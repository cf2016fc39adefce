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
	"time"
)

func emptyPolicies(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{"signingPolicies": []any{}})
}

func (c *testClient) mustList(t *testing.T) {
	t.Helper()
	if _, err := c.Policies(t.Context(), Filter{}); err != nil {
		t.Error(err)
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

// TestColdSignatureNeedsOneConnection: reading the policy and signing are two requests on one.
func TestColdSignatureNeedsOneConnection(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		s := newService(t, http2)
		s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
		s.handleRoute(routeC, signHashHandler(t))
		c := newTestClient(t, s.config())
		c.mustList(t)
		if _, err := c.key("p-256").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
			t.Fatal(err)
		}
		if n := s.connections.Load(); n != 1 || len(s.seen()) != 2 {
			t.Errorf("HTTP/2 %v: %d connections for %v", http2, n, s.seen())
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

// TestTurnPassesOn: a request that gets no connection holds nobody up.
func TestTurnPassesOn(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", emptyPolicies)
	dialling, refuse, dials := make(chan struct{}), make(chan struct{}), atomic.Int32{}
	cfg := s.config()
	cfg.Timeouts.RetryCount = 0
	c := newTestClient(t, cfg, func(o *Options) {
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) > 1 {
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			close(dialling)
			<-refuse
			return nil, errors.New("refused")
		}
	})
	list := func(ctx context.Context) error {
		_, err := c.Policies(ctx, Filter{})
		return err
	}
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- list(t.Context()) }()
	await(t, dialling)
	impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := list(impatient); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that waits for its turn: %v", err)
	}
	go func() { second <- list(t.Context()) }()
	close(refuse)
	if err := await(t, first); err == nil {
		t.Error("the refused call got an answer")
	}
	if err := await(t, second); err != nil {
		t.Error(err)
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
	if !errors.As(err, &e) || !e.Kind.Transient() || e.Status != 0 || len(c.clock.waits()) != 2 {
		t.Errorf("%v, waits %v", err, c.clock.waits())
	}
	if e.unknown {
		t.Error("a request that was never sent counts as one with unknown fate")
	}
}
