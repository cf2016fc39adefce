// Package p11key signs with keys on any PKCS#11 module: a SoftHSM, a YubiHSM, a smart card, a
// cloud service's module. A key needs no certificate.
//
// A module is C code in this process, and a call of it cannot be cancelled. So each call runs
// in a goroutine of its own, and when the context ends the caller goes on without it; what the
// call used (a session, one of 32 places) is given up until it returns, if ever. Modules are
// initialised once for a process however often they are opened, and stay loaded.
//
// A session is kept from one signature to the next; more are opened for signatures at the same
// time. One that is lost is opened again, once. A key's handle belongs to its session: it means
// nothing after the login that the session was part of.
//
// The PIN comes from a file, is read when the token wants it and not kept. A PIN that the
// token refuses is not tried again, because tokens lock after a few wrong ones.
package p11key

import (
	"fmt"

	"signkit/internal/key"
)

// Options say where keys are.
type Options struct {
	Module  string // absolute path of the PKCS#11 module, a shared library
	Token   string // label of the token; may be empty where the module has one token only
	Key     string // CKA_LABEL, or CKA_ID in hexadecimal; may be empty where the token has one private key only
	PINFile string // file that holds the PIN, in one line; may be empty for a token that wants none
}

var (
	// ErrWrongSignature reports that the module signed, but not with the key it shows.
	ErrWrongSignature = key.NewError(key.BadAnswer, "the module's signature does not verify with the public key")
	// ErrTimeout reports that the module has not answered in time. The call goes on: whether
	// the key was used is not known.
	ErrTimeout = key.NewError(key.NotDone, "the PKCS#11 module has not answered in time, and its call cannot be cancelled")
	// ErrUnsupported reports a key type, hash or padding that no signature can be made with.
	ErrUnsupported = key.NewError(key.Unsupported, "not supported with PKCS#11 keys")
	// ErrDigestLength reports a digest whose length does not fit its hash.
	ErrDigestLength = key.NewError(key.DigestLength, "wrong digest length")
)

// tokenName is how errors call a token.
func (o Options) tokenName() string {
	if o.Token == "" {
		return "the token of " + o.Module
	}
	return fmt.Sprintf("token %q of %s", o.Token, o.Module)
}
