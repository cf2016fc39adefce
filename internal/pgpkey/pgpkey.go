// Package pgpkey makes and reads transferable public keys (RFC 9580, section 10.1) of version
// 4, for private keys that are somewhere else: it needs a signer and never a private key.
//
// The creation time of an OpenPGP key is part of its fingerprint. Who makes a key twice must
// give the same time, or gets two keys.
package pgpkey

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"errors"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"signkit/internal/key"
)

// Options describe a new key.
type Options struct {
	Name, Email string    // of the user id "Name <Email>"; one of them may be empty
	Created     time.Time // of the key; to the second
	Expires     time.Time // zero: never
	Now         time.Time // of the self-signature; zero: the present time
}

// ErrOtherKey is the error for a public key that is not that of the signer.
var ErrOtherKey = errors.New("the OpenPGP key is not that of the signing key")

// Create makes a key with one user id and lets the signer sign it (one signature). The key is
// for certifying and signing.
func Create(ctx context.Context, signer key.Signer, o Options) (*Key, error) {
	id, err := newUserID(o)
	if err != nil {
		return nil, err
	}
	public, err := publicKeyPacket(signer.Public(), o.Created)
	if err != nil {
		return nil, err
	}
	at := now(o.Now)
	seconds, err := lifetime(public, at, o.Expires)
	if err != nil {
		return nil, err
	}
	signature, err := certify(ctx, signer, public, statement{kind: packet.SigTypePositiveCert, id: id, area: newArea(public, at, seconds)})
	if err != nil {
		return nil, err
	}
	body, err := publicKeyBody(signer.Public(), o.Created)
	if err != nil {
		return nil, err
	}
	return read([]*packet.OpaquePacket{
		{Tag: tagPublicKey, Contents: body}, {Tag: tagUserID, Contents: []byte(id)}, {Tag: tagSignature, Contents: signature}})
}

func newUserID(o Options) (string, error) {
	id := packet.NewUserId(o.Name, "", o.Email)
	if id == nil || id.Id == "" {
		return "", errors.New("a user id needs a name or an e-mail address, without parentheses and angle brackets")
	}
	if !utf8.ValidString(id.Id) || len(id.Id) > 1000 {
		return "", errors.New("a user id must be UTF-8, and not longer than 1000 bytes")
	}
	for _, r := range id.Id {
		if unicode.IsControl(r) {
			return "", errors.New("a user id must be one line without control characters")
		}
	}
	return id.Id, nil
}

// Extend gives every user id of an existing key, armored or not, a newer self-signature with
// another end (zero: never), one signature for each. So it does with a direct-key signature.
// Everything else stays as it is: older signatures, subkeys and theirs, and what the
// self-signatures say besides. A user id that has been revoked stays so.
func Extend(ctx context.Context, signer key.Signer, data []byte, expires, at time.Time) (*Key, error) {
	key, err := Parse(data)
	if err != nil {
		return nil, err
	}
	if err := key.extendable(signer.Public()); err != nil {
		return nil, err
	}
	var packets []*packet.OpaquePacket
	for _, s := range key.sections() {
		packets = append(packets, s.head)
		if old := s.latest(key.entity.PrimaryKey); old != nil {
			renewed, err := key.renew(ctx, signer, s, old, expires, now(at))
			if err != nil {
				return nil, err
			}
			packets = append(packets, &packet.OpaquePacket{Tag: tagSignature, Contents: renewed})
		}
		packets = append(packets, s.rest...)
	}
	return read(packets)
}

// extendable reports why a key cannot get another end with the signer's key.
func (k *Key) extendable(public crypto.PublicKey) error {
	want, err := publicKeyPacket(public, k.entity.PrimaryKey.CreationTime)
	if err != nil {
		return err
	}
	if string(want.Fingerprint) != string(k.entity.PrimaryKey.Fingerprint) {
		return ErrOtherKey
	}
	if len(k.entity.Revocations) > 0 {
		return errors.New("the OpenPGP key has been revoked; make another one")
	}
	if k.revoked[k.primary] {
		return errors.New("every user id of the OpenPGP key has been revoked; make another key")
	}
	return nil
}

// renew makes the self-signature that takes the place of old.
func (k *Key) renew(ctx context.Context, signer key.Signer, s section, old *selfSignature, expires, at time.Time) ([]byte, error) {
	// It must be later than the one before, or readers take that.
	if before := old.parsed.CreationTime; !at.After(before) {
		at = before.Add(time.Second)
	}
	public := k.entity.PrimaryKey
	seconds, err := lifetime(public, at, expires)
	if err != nil {
		return nil, err
	}
	area, err := renewedArea(public, at, seconds, old.body)
	if err != nil {
		return nil, err
	}
	kind := packet.SignatureType(packet.SigTypeDirectSignature)
	if s.head.Tag == tagUserID {
		kind = packet.SigTypePositiveCert
	}
	return certify(ctx, signer, public, statement{kind: kind, id: s.id(), area: area})
}

// selfSignatureHash is as strong as the key: apt and rpm refuse SHA-1.
func selfSignatureHash(public crypto.PublicKey) crypto.Hash {
	if ec, ok := public.(*ecdsa.PublicKey); ok {
		return key.CurveHash(ec)
	}
	return crypto.SHA512
}

func now(t time.Time) time.Time {
	if t.IsZero() {
		t = time.Now()
	}
	return t.UTC().Truncate(time.Second)
}
