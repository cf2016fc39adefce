package signpath

import (
	"context"
	"crypto"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// swallowing passes connections on, until swallow is called: from then on those that are there pass on nothing, as behind a
// firewall that has forgotten them. It returns the address that leads there.
func swallowing(t *testing.T, to string) (address string, swallow func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var current atomic.Pointer[atomic.Bool] // of the connections that are made now
	current.Store(new(atomic.Bool))
	forward := func(into io.Writer, from io.Reader, dead *atomic.Bool) {
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			if !dead.Load() {
				_, _ = into.Write(buffer[:n])
			}
			if err != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			dead := current.Load()
			t.Cleanup(func() { client.Close(); server.Close() })
			go forward(server, client, dead)
			go forward(client, server, dead)
		}
	}()
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String(), func() { current.Swap(new(atomic.Bool)).Store(true) }
}

// TestConnectionWithoutAnswersIsGivenUp: the attempt after a time-out takes a new one, with HTTP/2 too.
func TestConnectionWithoutAnswersIsGivenUp(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		s := newService(t, http2)
		s.handleRoute(routeC, signHashHandler(t))
		address, swallow := swallowing(t, s.Listener.Addr().String())
		cfg := s.config()
		cfg.APIURL = "https://" + address + "/Api"
		cfg.Timeouts.HTTPRequest, cfg.Timeouts.RetryCount = time.Second, 1
		c := newTestClient(t, cfg)
		sign := func() {
			t.Helper()
			if _, err := c.key("p-256").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
				t.Fatalf("HTTP/2 %v: %v", http2, err)
			}
		}
		sign()
		sign()
		if n := s.connections.Load(); n != 1 {
			t.Errorf("HTTP/2 %v: %d connections before", http2, n)
		}
		swallow()
		sign()
		if n := s.connections.Load(); n != 2 {
			t.Errorf("HTTP/2 %v: %d connections, want a second one", http2, n)
		}
	}
}

// TestTooManyRequestsHoldsThoseWhoWait: calls that wait for their turn see the pause that another was asked for.
func TestTooManyRequestsHoldsThoseWhoWait(t *testing.T) {
	s := newService(t, true)
	var asked, sleeping, early atomic.Int32
	over := make(chan struct{}) // the pause
	signs := signHashHandler(t)
	s.handle("POST", "SigningRequests/SignHash", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-over:
			signs(w, r)
		default:
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	cfg := s.config()
	cfg.MaxParallel = 2
	c := newTestClient(t, cfg)
	c.Client.sleep = func(ctx context.Context, d time.Duration) error {
		if sleeping.Add(1) == 4 { // the two that were put off, and the two that got their places
			early.Store(asked.Load())
			close(over)
		}
		<-over
		return c.clock.sleep(ctx, d)
	}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if early.Load() != 2 || asked.Load() != 22 {
		t.Errorf("%d requests in the pause and %d in all, want 2 and 22", early.Load(), asked.Load())
	}
}
