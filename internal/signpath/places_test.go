package signpath

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// waiter is a program that waits for one place.
type waiter struct {
	program int64
	ticket  chan struct{}
}

// served are the programs whose turn comes, until nobody waits.
func served(p *places, waiting []waiter) []int64 {
	var order []int64
	for range waiting {
		p.give()
		for i, w := range waiting {
			select {
			case <-w.ticket:
				order = append(order, w.program)
				waiting[i].ticket = nil // never ready
			default:
			}
		}
	}
	return order
}

func TestProgramsTakeTurns(t *testing.T) {
	p := &places{free: 1}
	if err := p.take(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	var waiting []waiter
	for _, program := range []int64{1, 1, 1, 1, 2, 3, 3} {
		waiting = append(waiting, waiter{program, p.enter(program)})
	}
	if got, want := served(p, waiting), []int64{1, 2, 3, 1, 3, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("served %v, want %v", got, want)
	}
	p.give()
	if p.free != 1 || len(p.lanes) != 0 {
		t.Errorf("%d places are free, %d programs wait", p.free, len(p.lanes))
	}
}

func TestWhoGivesUpTakesNobodysTurn(t *testing.T) {
	p := &places{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.take(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("take = %v", err)
	}
	other := p.enter(2)
	p.give()
	select {
	case <-other:
	default:
		t.Error("the next one did not get the place")
	}
	if len(p.lanes) != 0 {
		t.Errorf("%d programs wait", len(p.lanes))
	}
}
