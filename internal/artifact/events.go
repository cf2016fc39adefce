package artifact

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"signkit/internal/event"
)

// Events are what happened while one pair of hands was busy. Tools hide why a key did not sign; the events do not.
type Events struct {
	mu   sync.Mutex
	list events
}

// Record adds an event. It comes before the tool that asked is answered.
func (l *Events) Record(e event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, e)
}

// take are the events since the last call.
func (l *Events) take() events {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list
	l.list = nil
	return list
}

// events are what happened while one file was signed.
type events []event.Event

// requests are the ids of the service's signing requests, as far as it names them.
func (l events) requests() []string {
	var ids []string
	for _, e := range l {
		if e.RequestID != "" && !slices.Contains(ids, e.RequestID) {
			ids = append(ids, e.RequestID)
		}
	}
	return ids
}

// explain adds the last failure to the error of a tool.
func (l events) explain(err error) error {
	if _, tool := errors.AsType[*ToolError](err); !tool {
		return err
	}
	for _, e := range slices.Backward(l) {
		if e.Failed() {
			return fmt.Errorf("%w: %s", err, e.Error)
		}
	}
	return err
}
