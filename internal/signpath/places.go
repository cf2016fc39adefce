package signpath

import (
	"context"
	"slices"
	"sync"
)

// places bounds the requests that are under way, and gives free places to the programs that wait in turn, whatever
// number each waits for: of an agent's tools, one with 64 threads does not keep one with a single thread waiting for
// all of them. Where all are one program's, they come in their order.
type places struct {
	mu    sync.Mutex
	free  int
	lanes []*lane // of programs that wait; the first has the next turn
}

// lane is what one program waits for.
type lane struct {
	program int64
	tickets []chan struct{} // each is closed when its turn has come
}

// take waits for a place. The caller gives it back.
func (p *places) take(ctx context.Context, program int64) error {
	ticket := p.enter(program)
	select {
	case <-ticket:
		return nil
	case <-ctx.Done():
	}
	if !p.leave(program, ticket) {
		p.give() // its turn had come
	}
	return ctx.Err()
}

func (p *places) enter(program int64) chan struct{} {
	ticket := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free > 0 {
		p.free--
		close(ticket)
		return ticket
	}
	i := slices.IndexFunc(p.lanes, func(l *lane) bool { return l.program == program })
	if i < 0 {
		i = len(p.lanes)
		p.lanes = append(p.lanes, &lane{program: program})
	}
	p.lanes[i].tickets = append(p.lanes[i].tickets, ticket)
	return ticket
}

// leave takes back a ticket whose turn has not come.
func (p *places) leave(program int64, ticket chan struct{}) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, l := range p.lanes {
		if at := slices.Index(l.tickets, ticket); at >= 0 {
			l.tickets = slices.Delete(l.tickets, at, at+1)
			if len(l.tickets) == 0 {
				p.lanes = slices.Delete(p.lanes, i, i+1)
			}
			return true
		}
	}
	return false
}

func (p *places) give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lanes) == 0 {
		p.free++
		return
	}
	next := p.lanes[0]
	close(next.tickets[0])
	next.tickets = next.tickets[1:]
	p.lanes = p.lanes[1:]
	if len(next.tickets) > 0 {
		p.lanes = append(p.lanes, next)
	}
}

type programKey struct{}

// WithProgram says in the context for which program a request is made, by a number: programs get their turns (places). All without
// one are 0.
func WithProgram(ctx context.Context, program int64) context.Context {
	return context.WithValue(ctx, programKey{}, program)
}

func programOf(ctx context.Context) int64 {
	program, _ := ctx.Value(programKey{}).(int64)
	return program
}
