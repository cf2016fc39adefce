package signpath

import (
	"context"
	"crypto"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"signkit/internal/config"
)

// TestJitterMeanIsTenMinutes: 1.16 s and ten retries wait ten minutes on average.
func TestJitterMeanIsTenMinutes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const calls = 20000
	var sum float64
	means := make([]float64, 10)
	for range calls {
		previous := 0.0
		for i := range 10 {
			var delay float64
			delay, previous = jitterDelay(i, random.Float64(), previous)
			if delay < 0 {
				t.Fatalf("negative delay %v", delay)
			}
			means[i] += 1.16 * delay / calls
			sum += 1.16 * delay / calls
		}
	}
	if sum < 590 || sum > 630 {
		t.Errorf("mean of the sum is %.1f s", sum)
	}
	if means[0] < 0.5 || means[0] > 2 {
		t.Errorf("mean of the first delay is %.2f s", means[0])
	}
	for i := 1; i < 10; i++ {
		if means[i] <= means[i-1] {
			t.Errorf("delays do not grow: %.2f", means)
		}
	}
}

// failing answers with each status in turn, and then signs.
func failing(t *testing.T, header http.Header, statuses ...int) http.HandlerFunc {
	var n atomic.Int32
	sign := signHashHandler(t)
	return func(w http.ResponseWriter, r *http.Request) {
		i := int(n.Add(1)) - 1
		if i >= len(statuses) {
			sign(w, r)
			return
		}
		for k := range header {
			w.Header().Set(k, header.Get(k))
		}
		w.WriteHeader(statuses[i])
		_, _ = w.Write([]byte("down, said " + testToken + " to \x1b[31m nobody"))
	}
}

func TestServerErrorsAreRetriedAndAnnounced(t *testing.T) {
	s := newService(t, true)
	s.handle("POST", "SigningRequests/SignHash", failing(t, nil, 500, 502, 503))
	c := newTestClient(t, s.config())
	if _, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	if n := len(c.clock.waits()); n != 3 || len(s.seen()) != 4 {
		t.Errorf("%d waits, requests %v", n, s.seen())
	}
	wantInLog(t, c, "level=WARN", "status=500", "status=503", "down, said [redacted]", `\\u001b[31m`,
		"waiting ", "before the next attempt", "so far, retry 1 of 10", "may make a second signing request")
	if strings.Contains(c.log.String(), testToken) {
		t.Error("the token is in the log")
	}
}

func TestRetriesEnd(t *testing.T) {
	s := newService(t, true)
	s.handle("POST", "SigningRequests/SignHash", answerStatus(503))
	c := newTestClient(t, s.config())
	_, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256)
	var e *Error
	if !errors.As(err, &e) || e.Status != 503 || !e.Kind.Transient() || len(s.seen()) != 11 {
		t.Fatalf("%d requests, %v", len(s.seen()), err)
	}
	if !strings.Contains(err.Error(), "; gave up after 11 attempts in ") || e.Hint != "" {
		t.Errorf("%v, hint %q: how often it was tried is no hint", err, e.Hint)
	}
	total := time.Duration(0)
	for _, d := range c.clock.waits() {
		total += d
	}
	if total < 9*time.Minute || total > 11*time.Minute {
		t.Errorf("waited %s in all", total)
	}
}

func TestNoRetries(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 408, 409, 301, 307} {
		s := newService(t, true)
		s.handle("GET", "Cryptoki/MySigningPolicies", answerStatus(status))
		c := newTestClient(t, s.config())
		_, err := c.Policies(t.Context(), Filter{})
		var e *Error
		if !errors.As(err, &e) || e.Status != status || e.Kind.Transient() || len(s.seen()) != 1 {
			t.Errorf("status %d: %d requests, %v", status, len(s.seen()), err)
		}
	}
}

func TestRetryCountZero(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", answerStatus(500))
	for _, total := range []time.Duration{0, time.Minute} {
		cfg := s.config()
		cfg.Timeouts.RetryCount, cfg.Timeouts.Total = 0, total
		c := newTestClient(t, cfg)
		_, err := c.Policies(t.Context(), Filter{})
		var e *Error
		if !errors.As(err, &e) || e.Kind.Transient() || len(c.clock.waits()) != 0 {
			t.Errorf("total %s: waits %v, %v", total, c.clock.waits(), err)
		}
	}
}

func TestTotalTimeReplacesTheCount(t *testing.T) {
	for _, total := range []time.Duration{5 * time.Second, 90 * time.Second, 30 * time.Minute} {
		s := newService(t, true)
		s.handle("GET", "Cryptoki/MySigningPolicies", answerStatus(503))
		cfg := s.config()
		cfg.Timeouts.Total, cfg.Timeouts.RetryCount = total, 3
		c := newTestClient(t, cfg)
		start := c.clock.now()
		if _, err := c.Policies(t.Context(), Filter{}); err == nil {
			t.Fatal("no error")
		}
		took := c.clock.now().Sub(start)
		if took > total || total > cfg.Timeouts.HTTPRequest && took < total-cfg.Timeouts.HTTPRequest-time.Second {
			t.Errorf("total %s: took %s", total, took)
		}
		wantInLog(t, c, "at most "+total.String()+" in all")
	}
}

func TestRetryAfterForms(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{"", 0, false}, {"soon", 0, false}, {"-5", 0, false}, {"1.5", 0, false},
		{"7", 7 * time.Second, true}, {" 7 ", 7 * time.Second, true}, {"0", 0, true},
		{"4000000000", maxRetryAfter, true}, {"99999999999999999999", 0, false},
		{now.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second, true},
		{now.Add(-time.Hour).Format(http.TimeFormat), 0, true},
		{now.Add(time.Hour).Format(http.TimeFormat), maxRetryAfter, true},
	} {
		if d, ok := retryAfter(test.value, now); d != test.want || ok != test.ok {
			t.Errorf("%q: %s, %v", test.value, d, ok)
		}
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for _, status := range []int{429, 503} {
		s := newService(t, true)
		s.handle("POST", "SigningRequests/SignHash", failing(t, http.Header{"Retry-After": {"42"}}, status))
		c := newTestClient(t, s.config())
		if _, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
			t.Fatal(err)
		}
		if w := c.clock.waits(); len(w) != 1 || w[0] != 42*time.Second {
			t.Errorf("%d: waits %v", status, w)
		}
	}
}

// TestTooManyRequestsPausesEverybody: while one call waits after a 429, another call of the
// same client waits before its first attempt.
func TestTooManyRequestsPausesEverybody(t *testing.T) {
	s := newService(t, true)
	s.handle("POST", "SigningRequests/SignHash", failing(t, http.Header{"Retry-After": {"20"}}, 429))
	c := newTestClient(t, s.config())
	inPause, resume := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var order []string
	var mu sync.Mutex
	c.Client.sleep = func(ctx context.Context, d time.Duration) error {
		mu.Lock()
		order = append(order, d.String())
		mu.Unlock()
		once.Do(func() { close(inPause) })
		select {
		case <-resume:
		case <-time.After(bound):
			t.Error("nobody resumes")
		}
		return c.clock.sleep(ctx, d)
	}
	var group sync.WaitGroup
	sign := func() {
		if _, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
			t.Error(err)
		}
	}
	group.Go(sign)
	await(t, inPause)
	group.Go(sign)
	until(t, "the second call waits as well", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(order) >= 2
	})
	if n := len(s.seen()); n != 1 {
		t.Errorf("%d requests during the pause", n)
	}
	close(resume)
	group.Wait()
	if order[0] != "20s" || order[1] != "20s" {
		t.Errorf("waits %v", order)
	}
}

// TestAPauseIsAnnouncedOnce, however many calls were under way when the service asked for it.
func TestAPauseIsAnnouncedOnce(t *testing.T) {
	const calls = 4
	s := newService(t, true)
	var arrived atomic.Int32
	sign, all := signHashHandler(t), make(chan struct{})
	s.handle("POST", "SigningRequests/SignHash", func(w http.ResponseWriter, r *http.Request) {
		n := arrived.Add(1)
		if n == calls {
			close(all)
		}
		if n > calls {
			sign(w, r)
			return
		}
		select {
		case <-all:
		case <-time.After(bound):
		}
		w.Header().Set("Retry-After", "20")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	c := newTestClient(t, s.config())
	paused := make(chan struct{}, calls)
	resume := make(chan struct{})
	c.Client.sleep = func(ctx context.Context, d time.Duration) error {
		paused <- struct{}{}
		select {
		case <-resume:
		case <-time.After(bound):
		}
		return c.clock.sleep(ctx, d)
	}
	var group sync.WaitGroup
	for range calls {
		group.Go(func() {
			if _, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
				t.Error(err)
			}
		})
	}
	for range calls {
		await(t, paused)
	}
	close(resume)
	group.Wait()
	warned := 0
	for line := range strings.Lines(c.log.String()) {
		if strings.Contains(line, "waiting 20s before the next attempt") && strings.Contains(strings.ToLower(line), "warn") {
			warned++
		}
	}
	if warned != 1 {
		t.Errorf("announced %d times:\n%s", warned, c.log)
	}
}

func TestCancelDuringTheWait(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", answerStatus(503))
	c := newTestClient(t, s.config())
	ctx, cancel := context.WithCancel(t.Context())
	c.clock.hook = cancel
	_, err := c.Policies(ctx, Filter{})
	if !errors.Is(err, context.Canceled) || len(s.seen()) != 1 || !strings.Contains(err.Error(), "503") {
		t.Errorf("%d requests, %v", len(s.seen()), err)
	}
}

func TestSleepContextEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sleepContext(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := sleepContext(t.Context(), 0); err != nil {
		t.Error(err)
	}
}

func TestConnectionFailuresAreRetried(t *testing.T) {
	s := newService(t, true)
	sign, n := signHashHandler(t), atomic.Int32{}
	s.handle("POST", "SigningRequests/SignHash", func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1:
			panic(http.ErrAbortHandler) // reset
		case 2:
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"signingRequestId":"0`)) // truncated
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			sign(w, r)
		}
	})
	c := newTestClient(t, s.config())
	if _, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	if len(c.clock.waits()) != 2 {
		t.Errorf("waits %v", c.clock.waits())
	}
	wantInLog(t, c, "reading the answer after 22 bytes", "it is not known whether the service signed")
}

// TestAttemptTimeLimit: where the request was sent before the time was over, the setting is named. How much time that takes
// depends on the machine.
func TestAttemptTimeLimit(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for limit := 60 * time.Millisecond; ; limit *= 4 {
		cfg := s.config()
		cfg.Timeouts.HTTPRequest, cfg.Timeouts.RetryCount = limit, 1
		c := newTestClient(t, cfg)
		_, err := c.Policies(t.Context(), Filter{})
		var e *Error
		if !errors.Is(err, ErrTimeout) || !errors.As(err, &e) || !e.Kind.Transient() || len(c.clock.waits()) != 1 {
			t.Fatalf("%v, waits %v", err, c.clock.waits())
		}
		if strings.Contains(err.Error(), "SIGNPATH_TIMEOUTS_HTTP_REQUEST") {
			return
		}
		if limit > bound/4 {
			t.Fatal(err)
		}
	}
}

// TestHandshakeEndsWithTheAttempt: of a server that says nothing there is one error, not by chance another.
func TestHandshakeEndsWithTheAttempt(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := newService(t, true)
	cfg := s.config()
	cfg.APIURL, cfg.Timeouts.HTTPRequest, cfg.Timeouts.RetryCount = "https://"+listener.Addr().String()+"/Api", 50*time.Millisecond, 9
	_, err = newTestClient(t, cfg).Policies(t.Context(), Filter{})
	if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "no answer within 50ms: context deadline exceeded; gave up after 10 attempts") {
		t.Error(err)
	}
}

// TestAttemptThatTheTotalTimeShortens says how long it really was.
func TestAttemptThatTheTotalTimeShortens(t *testing.T) {
	s := newService(t, true)
	s.handle("GET", "Cryptoki/MySigningPolicies", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	cfg := s.config()
	cfg.Timeouts.HTTPRequest, cfg.Timeouts.Total = time.Hour, time.Second
	c := newTestClient(t, cfg)
	if _, err := c.Policies(t.Context(), Filter{}); err == nil || !strings.Contains(err.Error(), "no answer within 1s") {
		t.Error(err)
	}
}

func TestMaxParallelBoundsRequests(t *testing.T) {
	s := newService(t, true)
	var now, most atomic.Int32
	arrived, leave := make(chan struct{}, 10), make(chan struct{})
	s.handle("GET", "Cryptoki/MySigningPolicies", func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		arrived <- struct{}{}
		waitFor(r, leave)
		now.Add(-1)
		writeJSON(w, map[string]any{"signingPolicies": []any{}})
	})
	cfg := s.config()
	cfg.MaxParallel = 2
	c := newTestClient(t, cfg)
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			if _, err := c.Policies(t.Context(), Filter{}); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, arrived)
	await(t, arrived)
	close(leave)
	group.Wait()
	if most.Load() != 2 {
		t.Errorf("%d at the same time", most.Load())
	}
}

// TestLongestCallBoundsEveryBackoff, whatever chance does.
func TestLongestCallBoundsEveryBackoff(t *testing.T) {
	limits := config.Timeouts{HTTPRequest: 30 * time.Second, FirstRetryDelay: 1160 * time.Millisecond, RetryCount: 10}
	for _, u := range []float64{0, 0.5, 0.999999} {
		var waits, previous, delay float64
		for i := range limits.RetryCount {
			delay, previous = jitterDelay(i, u, previous)
			waits += delay * limits.FirstRetryDelay.Seconds()
		}
		if sum := time.Duration(waits*float64(time.Second)) + 11*limits.HTTPRequest; sum > LongestCall(limits) || LongestCall(limits) > 30*time.Minute {
			t.Errorf("u = %v: %s, but LongestCall = %s", u, sum, LongestCall(limits))
		}
	}
	if limits.Total = time.Minute; LongestCall(limits) != time.Minute {
		t.Errorf("with a total time: %s", LongestCall(limits))
	}
	if limits = (config.Timeouts{RetryCount: 100, FirstRetryDelay: time.Hour}); LongestCall(limits) != 24*time.Hour {
		t.Errorf("with the longest settings: %s", LongestCall(limits))
	}
}
