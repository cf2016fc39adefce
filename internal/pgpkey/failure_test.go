package pgpkey

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"errors"
	"testing"
)

// failing is a signer whose service says no.
type failing struct{ softSigner }

var errRefused = errors.New("refused")

func (failing) SignContext(context.Context, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errRefused
}

func TestTheSignersErrorIsReturnedForEveryKindOfKey(t *testing.T) {
	for name, signer := range map[string]softSigner{"RSA": rsaSigner(t, 2048), "ECDSA": ecSigner(t, elliptic.P256())} {
		key, err := Create(t.Context(), failing{signer}, Options{Name: "a", Created: created})
		if !errors.Is(err, errRefused) || key != nil {
			t.Errorf("%s, Create: %v %v", name, key, err)
		}
		good, err := Create(t.Context(), signer, Options{Name: "a", Created: created})
		if err != nil {
			t.Fatal(err)
		}
		data, err := good.Binary()
		if err != nil {
			t.Fatal(err)
		}
		if key, err := Extend(t.Context(), failing{signer}, data, created.AddDate(20, 0, 0), created); !errors.Is(err, errRefused) || key != nil {
			t.Errorf("%s, Extend: %v %v", name, key, err)
		}
	}
}
