package p11key

import (
	"context"
	"fmt"
)

// call runs f, which calls the module, in a goroutine, and waits for it or for the context.
// It takes a place in the module until f returns.
func call[T any](ctx context.Context, l *library, f func() (T, error)) (T, error) {
	var none T
	select {
	case l.place <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("%w: all %d calls that may run at a time hang or wait: %w", ErrTimeout, places, ctx.Err())
	}
	return within(ctx, func() { <-l.place }, func() (T, error) {
		var none T
		if l.isSerial() {
			l.single.Lock()
			defer l.single.Unlock()
		}
		if err := ctx.Err(); err != nil {
			return none, fmt.Errorf("%w: %w", ErrTimeout, err)
		}
		return f()
	})
}

// within runs f and then release in a goroutine, and waits for f or for the context.
func within[T any](ctx context.Context, release func(), f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		release()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-done: // just in time
		return r.value, r.err
	default:
	}
	var none T
	return none, fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
}

// exclusive takes every place, so that no call is inside the module, and returns what gives
// them back. New calls wait meanwhile.
func (l *library) exclusive(ctx context.Context) (func(), error) {
	select {
	case l.alone <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
	}
	taken := 0
	release := func() {
		for range taken {
			<-l.place
		}
		<-l.alone
	}
	for taken < places {
		select {
		case l.place <- struct{}{}:
			taken++
		case <-ctx.Done():
			release()
			return nil, fmt.Errorf("%w: %d calls are still in the module: %w", ErrTimeout, places-taken, ctx.Err())
		}
	}
	return release, nil
}

func (l *library) isSerial() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.serial
}
