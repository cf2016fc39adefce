// Package event is the record of one signature, or of one that was asked for and did not come: what the agent, the
// token process and the bridge of gpg write, one line of JSON each, and what our own programs read. The text log
// is for people.
package event

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"signkit/internal/caller"
	"signkit/internal/key"
)

// Event is one signature or failure.
type Event struct {
	Time      time.Time `json:"time"`
	Key       string    `json:"key,omitempty"`    // PROJECT/POLICY; empty where none was found
	Digest    string    `json:"digest,omitempty"` // hexadecimal; empty where it did not get that far
	Algorithm string    `json:"algorithm,omitempty"`
	RequestID string    `json:"signingRequestId,omitempty"`
	WebLink   string    `json:"webLink,omitempty"`
	Caller    *Caller   `json:"caller,omitempty"`
	Seconds   float64   `json:"seconds"` // in the service
	Error     string    `json:"error,omitempty"`
	Kind      key.Kind  `json:"kind,omitempty"` // of the error
	Hint      string    `json:"hint,omitempty"` // what a person can change
}

// Caller is the process that asked.
type Caller struct {
	PID         int    `json:"pid"`
	CommandLine string `json:"commandLine,omitempty"`
	User        string `json:"user,omitempty"`
}

// CallerOf is what an event tells of a process; nil for nil.
func CallerOf(p *caller.Process) *Caller {
	if p == nil {
		return nil
	}
	return &Caller{p.PID, p.CommandLine, p.User}
}

// CallerIn is the process that a context names, for an event; nil where it names none.
func CallerIn(ctx context.Context) *Caller {
	process := caller.FromContext(ctx)
	if process == nil {
		return nil
	}
	p := process()
	return CallerOf(&p)
}

// Fail says why there is no signature.
func (e *Event) Fail(err error) {
	e.Error, e.Kind, e.Hint = err.Error(), key.KindOf(err).General(), key.HintOf(err)
}

// Failed reports whether this is a failure.
func (e *Event) Failed() bool { return e.Error != "" }

// Recorder gets events; it is safe for concurrent use. nil: nobody does.
type Recorder func(Event)

// To gives each event to all of them, as far as there are any.
func To(recorders ...Recorder) Recorder {
	var all []Recorder
	for _, r := range recorders {
		if r != nil {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return func(e Event) {
		for _, r := range all {
			r(e)
		}
	}
}

// Begin is the event of a signature that is asked for now.
func Begin(key string, digest []byte, now time.Time) Event {
	return Event{Time: now.UTC(), Key: key, Digest: hex.EncodeToString(digest)}
}

// told is an error that was recorded.
type told struct{ error }

func (t told) Unwrap() error { return t.error }

// Told marks an error as recorded, so that who gets it next does not record it again; nil stays nil.
func Told(err error) error {
	if err == nil {
		return nil
	}
	return told{err}
}

// IsTold reports whether an error has been recorded.
func IsTold(err error) bool {
	_, ok := errors.AsType[told](err)
	return ok
}
