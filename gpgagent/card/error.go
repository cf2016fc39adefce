package card

import (
	"context"
	"errors"

	"signkit/gpgagent/assuan"
	"signkit/internal/key"
)

// openError is that of a key that cannot be used at all: unless the error knows
// better, or time was up, the settings are to blame.
func openError(err error) error {
	_, coded := errors.AsType[*assuan.Error](err)
	if coded || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &assuan.Error{Code: assuan.Configuration, Err: err}
}

// kindCodes are the codes whose texts, all that gpg shows, come closest to what went wrong. None makes gpg-agent
// ask for a card.
var kindCodes = map[key.Kind]assuan.Code{
	key.Refused:         assuan.NotConfirmed,
	key.Withdrawn:       assuan.Canceled,
	key.Forbidden:       assuan.Forbidden,
	key.BadToken:        assuan.BadAuth,
	key.NoSuchPolicy:    assuan.NoSecretKey,
	key.NoSuchAddress:   assuan.Configuration, // of the URL or the organization
	key.NeedsApproval:   assuan.Forbidden,
	key.BadRequest:      assuan.ServerFailed,
	key.Unsupported:     assuan.DigestAlgorithm,
	key.DigestLength:    assuan.InvalidData,
	key.Throttled:       assuan.TryLater,
	key.Unavailable:     assuan.ServerFailed,
	key.NotDone:         assuan.Timeout,
	key.Network:         assuan.Network,
	key.NoAnswer:        assuan.Timeout,
	key.UnknownHost:     assuan.UnknownHost,
	key.NotListening:    assuan.ConnectionRefused,
	key.Unreachable:     assuan.Unreachable,
	key.Untrusted:       assuan.Configuration, // roots that are missing, a wrong name in the URL
	key.ClientUntrusted: assuan.Network,
	key.BadAnswer:       assuan.BadSignature,
	key.UnusableAnswer:  assuan.ServerFailed,
	key.Settings:        assuan.Configuration,
	key.Elsewhere:       assuan.ServerFailed,
	key.Canceled:        assuan.Canceled,
	key.Other:           assuan.General,
}

// codeOf is the code of an error: its own, or that of its kind.
func codeOf(err error) assuan.Code {
	if e, ok := errors.AsType[*assuan.Error](err); ok {
		return e.Code
	}
	return key.Lookup(kindCodes, key.KindOf(err))
}

// CodedError gives an error of a key the code of its kind, or, where nothing is known of it, the other.
func CodedError(otherwise assuan.Code, err error) error {
	if key.KindOf(err) != key.Other {
		otherwise = codeOf(err)
	}
	return &assuan.Error{Code: otherwise, Err: err}
}
