//go:build !cgo

package p11key

import (
	"context"
	"crypto"
	"errors"
	"io"
)

var errNoCgo = errors.New("this program was built without cgo, and cannot load PKCS#11 modules")

// Module stands in for the real one: it cannot be opened.
type Module struct{}

// Key stands in for the real one: there is none.
type Key struct{}

// Open says that it cannot.
func Open(context.Context, Options) (*Module, error) { return nil, errNoCgo }

// Close does nothing.
func (*Module) Close() error { return nil }

// Keys says that it cannot.
func (*Module) Keys(context.Context) ([]*Key, error) { return nil, errNoCgo }

// Find says that it cannot.
func (*Module) Find(context.Context) (*Key, error) { return nil, errNoCgo }

// ID is empty.
func (*Key) ID() string { return "" }

// Name is empty.
func (*Key) Name() string { return "" }

// Public is nil.
func (*Key) Public() crypto.PublicKey { return nil }

// Sign says that it cannot.
func (*Key) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errNoCgo }

// SignContext says that it cannot.
func (*Key) SignContext(context.Context, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errNoCgo
}
