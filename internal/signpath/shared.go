package signpath

import (
	"context"
	"sync"
)

// shared is a value that is fetched once. Callers that ask at the same time share one
// fetch; a failed one is not remembered.
type shared[T any] struct {
	mu      sync.Mutex
	current *fetch[T]
}

type fetch[T any] struct {
	done      chan struct{}
	value     T
	err       error
	abandoned bool // its own caller's context ended: the next caller fetches again
}

func (s *shared[T]) get(ctx context.Context, fn func(context.Context) (T, error)) (T, error) {
	for {
		s.mu.Lock()
		f := s.current
		if f == nil {
			f = &fetch[T]{done: make(chan struct{})}
			s.current = f
			s.mu.Unlock()
			s.run(ctx, f, fn)
			return f.value, f.err
		}
		s.mu.Unlock()
		select {
		case <-f.done:
			if !f.abandoned {
				return f.value, f.err
			}
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
	}
}

func (s *shared[T]) run(ctx context.Context, f *fetch[T], fn func(context.Context) (T, error)) {
	defer close(f.done)
	f.value, f.err = fn(ctx)
	if f.err == nil {
		return
	}
	f.abandoned = ctx.Err() != nil
	s.mu.Lock()
	s.current = nil
	s.mu.Unlock()
}
