package mockapi

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"time"

	"signkit/internal/pgpkey"
)

// transferableKey returns the OpenPGP public key of a GPG certificate, binary
// (RFC 9580, section 10.1). It is kept in the state folder, since its creation
// time is part of the fingerprint.
func (c *certificate) transferableKey(key crypto.Signer) ([]byte, error) {
	file := "keys/" + c.name + ".pgp"
	data, err := c.state.read(file)
	if err != nil {
		return nil, err
	}
	if data != nil && holdsKey(data, key) {
		return data, nil
	}
	data, err = newTransferableKey(key, c.commonName(), c.email(), time.Now().Add(-backdate))
	if err != nil {
		return nil, fmt.Errorf("making the OpenPGP key %s: %w", c.Slug, err)
	}
	return data, c.state.write(file, data, 0o600)
}

func (c *certificate) email() string {
	if c.Email != "" {
		return c.Email
	}
	return c.Slug + "@example.com"
}

// localSigner is a key in memory as a key.Signer.
type localSigner struct{ crypto.Signer }

func (s localSigner) SignContext(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.Sign(rand.Reader, digest, opts)
}

// newTransferableKey makes a key that can sign and certify, with one user id, valid for two
// years.
func newTransferableKey(key crypto.Signer, name, email string, created time.Time) ([]byte, error) {
	made, err := pgpkey.Create(context.Background(), localSigner{key}, pgpkey.Options{
		Name: name, Email: email, Created: created, Expires: created.Add(2 * year), Now: created,
	})
	if err != nil {
		return nil, err
	}
	return made.Binary()
}

// holdsKey reports whether a stored transferable key is that of key.
func holdsKey(public []byte, key crypto.Signer) bool {
	stored, err := pgpkey.Parse(public)
	return err == nil && stored.IsOf(key.Public())
}

func armored(public []byte) ([]byte, error) {
	key, err := pgpkey.Parse(public)
	if err != nil {
		return nil, err
	}
	return key.Armor()
}
