package signpath

import (
	"context"
	"crypto"
	"errors"
	"io"
	"log/slog"
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
			server, err := net.DialTimeout("tcp", to, bound)
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
		cfg.Timeouts.HTTPRequest, cfg.Timeouts.RetryCount = bound, 1
		c := newTestClient(t, cfg)
		c.clock.hook = func() { c.cfg.Timeouts.HTTPRequest = bound } // one attempt alone has little time
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
		c.cfg.Timeouts.HTTPRequest = 200 * time.Millisecond
		sign()
		if n := s.connections.Load(); n != 2 {
			t.Errorf("HTTP/2 %v: %d connections, want a second one", http2, n)
		}
	}
}

// TestTooManyRequestsHoldsThoseWhoWait: calls that wait for their turn see the pause that another was asked for, or that it chose,
// however long its record takes to be written.
func TestTooManyRequestsHoldsThoseWhoWait(t *testing.T) {
	for _, retryAfter := range []string{"20", ""} {
		t.Run("Retry-After="+retryAfter, func(t *testing.T) {
			s := newService(t, true)
			var asked, sleeping, early atomic.Int32
			both, over := make(chan struct{}), make(chan struct{}) // two requests are here; the pause is over
			wait := func(done <-chan struct{}, what string) {
				select {
				case <-done:
				case <-time.After(time.Minute):
					t.Errorf("waited a minute for %s", what)
				}
			}
			signs := signHashHandler(t)
			s.handle("POST", "SigningRequests/SignHash", func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 2 {
					close(both)
				}
				wait(both, "a second request beside the first") // which would else see the pause
				select {
				case <-over:
					signs(w, r)
				default:
					if retryAfter != "" {
						w.Header().Set("Retry-After", retryAfter)
					}
					w.WriteHeader(http.StatusTooManyRequests)
				}
			})
			cfg := s.config()
			cfg.MaxParallel, cfg.Timeouts.HTTPRequest = 2, time.Minute
			c := newTestClient(t, cfg, func(o *Options) {
				o.Logger = slog.New(slog.NewTextHandler(slowWriter{}, nil))
			})
			c.Client.sleep = func(ctx context.Context, d time.Duration) error {
				if sleeping.Add(1) == 4 { // the two that were put off, and the two that got their places
					early.Store(asked.Load())
					close(over)
				}
				wait(over, "four calls in the pause")
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
		})
	}
}

// slowWriter is a console that takes its time.
type slowWriter struct{}

func (slowWriter) Write(record []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return len(record), nil
}

// TestLast429HoldsTheOthers: a call without attempts left passes the service's wish on.
func TestLast429HoldsTheOthers(t *testing.T) {
	s := newService(t, true)
	s.handle("POST", "SigningRequests/SignHash", failing(t, http.Header{"Retry-After": {"20"}}, 429, 429))
	cfg := s.config()
	cfg.Timeouts.RetryCount = 1
	c := newTestClient(t, cfg)
	sign := func() error {
		_, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256)
		return err
	}
	if err := sign(); err == nil {
		t.Fatal("signed, though the service refused twice")
	}
	if err := sign(); err != nil {
		t.Fatal(err)
	}
	if waits := c.clock.waits(); len(waits) != 2 || waits[1] != 20*time.Second {
		t.Errorf("waits %v, want 20s before the second attempt and 20s before the next call", waits)
	}
}

// TestSlowAnswerBesideATimeOut: an answer that takes long is waited for on its connection, though another request on that
// connection timed out and the next ones take a new one.
func TestSlowAnswerBesideATimeOut(t *testing.T) {
	s := newService(t, true)
	signs, n := signHashHandler(t), atomic.Int32{}
	slow, second, third := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.handle("POST", "SigningRequests/SignHash", func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1:
			close(slow)
			waitFor(r, third)
			signs(w, r)
		case 2:
			signs(w, r)
			close(third)
		}
	})
	s.handle("GET", "Cryptoki/MySigningPolicies", func(_ http.ResponseWriter, r *http.Request) {
		close(second)
		<-r.Context().Done()
	})
	c := newTestClient(t, s.config())
	sign := func() {
		if _, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
			t.Error(err)
		}
	}
	var group sync.WaitGroup
	group.Go(sign)
	await(t, slow)
	policies := call{method: "GET", path: "Cryptoki/MySigningPolicies"}
	if _, failure := c.attempt(expiring{t.Context(), second}, policies, bound); failure == nil || !errors.Is(failure, ErrTimeout) {
		t.Errorf("the request without an answer: %v", failure)
	}
	sign()
	group.Wait()
	if connections := s.connections.Load(); n.Load() != 2 || connections != 2 {
		t.Errorf("%d requests for a signature on %d connections, want 2 on 2", n.Load(), connections)
	}
}
