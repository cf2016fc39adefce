package key

import (
	"context"
	"errors"
	"strings"
)

// Kind sorts failures: what each door, and each program that people call, tells of them is a table
// over it. A kind may be a case of a more general one, which is what stands before its stroke.
type Kind string

// The general kinds. Events name no others.
const (
	Refused      Kind = "refused"        // somebody said no: an approver, or a bound of the job
	Forbidden    Kind = "forbidden"      // the token is not valid, or its user may not
	NoSuchPolicy Kind = "no-such-policy" // there is no such key
	BadRequest   Kind = "bad-request"    // what was asked for cannot be signed so
	Throttled    Kind = "throttled"      // too much was asked for in a short time
	Unavailable  Kind = "unavailable"    // the service is out of order
	Network      Kind = "network"        // no complete answer
	Untrusted    Kind = "untrusted"      // TLS: one side does not trust the other
	BadAnswer    Kind = "bad-answer"     // an answer, but not a signature that verifies
	Settings     Kind = "settings"       // something here must be changed first
	Canceled     Kind = "canceled"       // the caller does not want it any more
	Other        Kind = "other"
)

// Cases of the general kinds, which some table tells from the others.
const (
	Withdrawn       Kind = "refused/withdrawn"         // somebody canceled the signing request
	BadToken        Kind = "forbidden/token"           // the token is not valid
	NoSuchAddress   Kind = "no-such-policy/address"    // there is no such organization, or no such service
	NeedsApproval   Kind = "no-such-policy/approval"   // hashes cannot wait for the approval that the policy asks for
	Unsupported     Kind = "bad-request/unsupported"   // key type, hash or padding; nothing was asked of anyone
	DigestLength    Kind = "bad-request/digest-length" // does not fit the hash; nothing was asked of anyone
	Broken          Kind = "unavailable/broken"        // an error of the service that will stay
	NotDone         Kind = "unavailable/time"          // not done within the time
	NoAnswer        Kind = "network/time"              // no complete answer within the time
	UnknownHost     Kind = "network/host"              // the name cannot be resolved
	NotListening    Kind = "network/not-listening"     // the connection was refused
	Unreachable     Kind = "network/unreachable"       // there is no way
	NoWay           Kind = "network/no-way"            // what would fail again, whenever it is tried
	ClientUntrusted Kind = "untrusted/client"          // the other side refused TLS
	UnusableAnswer  Kind = "bad-answer/unusable"       // not even of the form that was expected
	Elsewhere       Kind = "settings/elsewhere"        // the service is at another address
)

// General is the kind that this one is a case of, or itself.
func (k Kind) General() Kind {
	general, _, _ := strings.Cut(string(k), "/")
	return Kind(general)
}

// Transient reports that the same call may succeed later.
func (k Kind) Transient() bool {
	switch k {
	case Broken, NoWay:
		return false
	}
	switch k.General() {
	case Throttled, Unavailable, Network:
		return true
	}
	return false
}

// Lookup is what a table says of the kind, or else of the one that it is a case of; or else the zero value.
func Lookup[T any](table map[Kind]T, kind Kind) T {
	if value, ok := table[kind]; ok {
		return value
	}
	return table[kind.General()]
}

// Error is a failure, made where it arises. Its text is that of Err; a hint is not part of it.
type Error struct {
	Kind    Kind
	Hint    string // what to check or change, naming the setting; may be empty
	TraceID string // the service's own name of the failed call, for its operator; may be empty
	Err     error  // nil where Error is a part of an error that has a text of its own
}

func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Kind)
	}
	return e.Err.Error()
}

// Unwrap gives Err.
func (e *Error) Unwrap() error { return e.Err }

// NewError is an error of a kind, with a text.
func NewError(kind Kind, text string) error { return &Error{Kind: kind, Err: errors.New(text)} }

// KindOf is the kind of an error; Other where nothing is known of it.
func KindOf(err error) Kind {
	if errors.Is(err, context.Canceled) {
		return Canceled
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return NotDone
	}
	return Other
}

// HintOf is the hint of an error, if it has one.
func HintOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Hint
	}
	return ""
}
