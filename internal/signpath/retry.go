package signpath

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"signkit/internal/config"
)

const (
	maxRetryAfter = 5 * time.Minute  // a longer Retry-After is not honoured
	defaultTotal  = 10 * time.Minute // for queued requests when no total time is set
)

// send makes one call, repeated as the retry rules say, and returns its 2xx answer. Each
// failed attempt that is followed by another is logged as a warning, with the wait before it.
// The end of ctx ends it at once.
func (c *Client) send(ctx context.Context, q call) (*answer, error) {
	b := c.newBackoff()
	for {
		a, delay, failure := c.step(ctx, q, b)
		if failure == nil {
			return a, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", q.method, c.path(q), ctx.Err())
		}
		if delay == noRetry {
			return nil, b.final(failure)
		}
		c.announce(q, b, failure, delay)
		if err := c.sleep(ctx, delay); err != nil {
			return nil, fmt.Errorf("%s %s: %w (while waiting to repeat it: %v)", q.method, c.path(q), err, failure)
		}
	}
}

// noRetry is the delay after a failure that is final.
const noRetry time.Duration = -1

// step makes one attempt, in the place of one of the calls that may be under way at once, and
// decides on the wait after a failure. A pause is set before the place is given away, so that
// no call that waited for it goes out in the pause.
func (c *Client) step(ctx context.Context, q call, b *backoff) (*answer, time.Duration, *Error) {
	if err := c.places.take(ctx, programOf(ctx)); err != nil {
		return nil, noRetry, c.connectionError(q, err, false, c.cfg.Timeouts.HTTPRequest)
	}
	defer c.places.give()
	if err := c.waitPause(ctx); err != nil {
		return nil, noRetry, c.connectionError(q, err, false, c.cfg.Timeouts.HTTPRequest)
	}
	a, failure := c.attempt(ctx, q, b.attemptTime())
	if failure == nil {
		return a, 0, nil
	}
	delay, again := b.next(failure)
	b.told = false
	if failure.Status == http.StatusTooManyRequests && c.cfg.Timeouts.RetryCount > 0 {
		pause := delay
		if !again { // the others have attempts left
			pause, _ = retryAfter(failure.retryAfter, c.now())
		}
		b.told = c.pause.extend(c.now().Add(pause), c.now())
	}
	if !again {
		return nil, noRetry, failure
	}
	return nil, delay, failure
}

// announce warns of a failure and the wait after it; where others have been told of the same pause, that is no news.
func (c *Client) announce(q call, b *backoff, e *Error, delay time.Duration) {
	level := slog.LevelWarn
	if b.told {
		level = slog.LevelInfo
	}
	c.log.Log(context.Background(), level, "call of the signing service failed",
		"method", q.method, "path", c.path(q), "attempt", b.attempts,
		"status", e.Status, "body", e.body, "error", e.cause, "traceId", e.TraceID)
	if e.unknown && q.method == http.MethodPost {
		c.log.Warn("it is not known whether the service signed; repeating the call may make a second signing request",
			"path", c.path(q))
	}
	c.log.Log(context.Background(), level, fmt.Sprintf("waiting %s before the next attempt (%s so far, %s)",
		round(delay), round(c.now().Sub(b.start)), b.bound()),
		slog.Duration("delay", delay), slog.String("path", c.path(q)))
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// backoff decides on the waits of one call: "decorrelated jitter v2", whose sum has a mean
// of about ten minutes for the default 1.16 s and ten retries.
type backoff struct {
	c        *Client
	start    time.Time
	attempts int
	unknown  bool    // an attempt may have had its effect
	told     bool    // another call has announced the pause that the last failure asked for
	previous float64 // g(i-1 + u(i-1)); 0 before the first
}

func (c *Client) newBackoff() *backoff { return &backoff{c: c, start: c.now()} }

// jitterDelay returns the wait number i (from 0) in units of the first delay, and what the
// next call needs as previous; u is random in [0, 1).
func jitterDelay(i int, u, previous float64) (delay, current float64) {
	t := float64(i) + u
	current = math.Exp2(t) * math.Tanh(math.Sqrt(4*t))
	return max(0, current-previous) / 1.4, current
}

// next returns how long to wait after failure, or false when it is final. A set total time
// replaces the number of retries, unless that is 0.
func (b *backoff) next(failure *Error) (time.Duration, bool) {
	b.attempts++
	b.unknown = b.unknown || failure.unknown
	t := b.c.cfg.Timeouts
	if !failure.retry || t.RetryCount <= 0 || t.Total <= 0 && b.attempts > t.RetryCount {
		return 0, false
	}
	factor, current := jitterDelay(min(b.attempts-1, 32), b.c.rand(), b.previous)
	b.previous = current
	delay := time.Duration(factor * float64(t.FirstRetryDelay))
	if asked, ok := retryAfter(failure.retryAfter, b.c.now()); ok {
		delay = max(delay, asked)
	}
	return b.withinTotal(delay)
}

// withinTotal shortens the wait so that one more attempt fits into the total time.
func (b *backoff) withinTotal(delay time.Duration) (time.Duration, bool) {
	t := b.c.cfg.Timeouts
	if t.Total <= 0 {
		return delay, true
	}
	left := b.left()
	if delay < left {
		return delay, true
	}
	delay = left - t.HTTPRequest
	return delay, delay > 0
}

func (b *backoff) left() time.Duration {
	return b.c.cfg.Timeouts.Total - b.c.now().Sub(b.start)
}

// attemptTime is the time limit of the next attempt.
func (b *backoff) attemptTime() time.Duration {
	t := b.c.cfg.Timeouts
	if t.Total <= 0 {
		return t.HTTPRequest
	}
	return min(t.HTTPRequest, max(b.left(), time.Second))
}

func (b *backoff) bound() string {
	t := b.c.cfg.Timeouts
	if t.Total > 0 {
		return fmt.Sprintf("at most %s in all", t.Total)
	}
	return fmt.Sprintf("retry %d of %d", b.attempts, t.RetryCount)
}

// LongestCall is the longest that a call to the service can take with these limits: its attempts
// and the waits between them, whose sum is below that of the last and longest one (jitterDelay).
func LongestCall(t config.Timeouts) time.Duration {
	if t.Total > 0 {
		return t.Total
	}
	waits := math.Exp2(float64(t.RetryCount)) / 1.4 * t.FirstRetryDelay.Seconds()
	attempts := float64(t.RetryCount+1) * t.HTTPRequest.Seconds()
	const day = 24 * time.Hour
	return time.Duration(min(waits+attempts, day.Seconds()) * float64(time.Second))
}

// final says how often and how long it was tried, and what is not known of all attempts.
func (b *backoff) final(e *Error) *Error {
	e.unknown = e.unknown || b.unknown
	if b.attempts > 1 {
		e.tried = fmt.Sprintf("gave up after %d attempts in %s", b.attempts, round(b.c.now().Sub(b.start)))
	}
	return e
}

// retryAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds or a date.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	var d time.Duration
	if seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		d = date.Sub(now)
	} else {
		return 0, false
	}
	return min(max(d, 0), maxRetryAfter), true
}

// pause is the wait that a 429 asks of every goroutine of a client.
type pause struct {
	mu    sync.Mutex
	until time.Time
}

// extend reports whether a pause was in force already.
func (p *pause) extend(until, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	inForce := p.until.After(now)
	if until.After(p.until) {
		p.until = until
	}
	return inForce
}

func (p *pause) left(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until.Sub(now)
}

// waitPause returns when no pause is in force.
func (c *Client) waitPause(ctx context.Context) error {
	for d := c.pause.left(c.now()); d > 0; d = c.pause.left(c.now()) {
		if err := c.sleep(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// sleepContext waits for d or the end of ctx, whose error it returns.
func sleepContext(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
