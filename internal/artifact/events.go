package artifact

import (
	"errors"
	"fmt"
	"slices"

	"signkit/internal/event"
)

// EventFile is where the programs that talk to the service record what they do for one pair of hands. Tools hide why a
// key did not sign; the events do not.
type EventFile struct {
	Path string
	Copy event.Recorder // gets what is read; may be nil
	seen int64
}

// next are the events since the last call.
func (f *EventFile) next() events {
	if f == nil {
		return nil
	}
	list, end := event.From(f.Path, f.seen)
	f.seen = end
	if f.Copy != nil {
		for _, e := range list {
			f.Copy(e)
		}
	}
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
