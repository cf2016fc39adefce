// Package pgpkey makes and reads transferable public keys (RFC 9580, section 10.1) of version
// 4, for private keys that are somewhere else: it needs a signer and never a private key.
//
// The creation time of an OpenPGP key is part of its fingerprint. Who makes a key twice must
// give the same time, or gets two keys.
package pgpkey

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Signer is a remote private key. An ECDSA signature is ASN.1 DER.
type Signer interface {
	Public() crypto.PublicKey
	SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

// Options describe a new key.
type Options struct {
	Name, Email string    // of the user id "Name <Email>"; one of them may be empty
	Created     time.Time // of the key; to the second
	Expires     time.Time // zero: never
	Now         time.Time // of the self-signature; zero: the present time
}

// Key is a transferable public key.
type Key struct {
	entity *openpgp.Entity
	ids    []string // user ids in their order
}

// ErrOtherKey is the error for a public key that is not that of the signer.
var ErrOtherKey = errors.New("the OpenPGP key is not that of the signing key")

// Create makes a key with one user id and lets the signer sign it (one signature). The key is
// for certifying and signing.
func Create(ctx context.Context, signer Signer, o Options) (*Key, error) {
	id := packet.NewUserId(o.Name, "", o.Email)
	if id == nil || id.Id == "" {
		return nil, errors.New("a user id needs a name or an e-mail address, without parentheses and angle brackets")
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
	signature, err := certify(ctx, signer, public, id.Id, claims{
		created: at, lifetime: seconds, flags: flagCertify | flagSign, primary: true, hashes: []byte{10, 9, 8},
	})
	if err != nil {
		return nil, err
	}
	return &Key{ids: []string{id.Id}, entity: &openpgp.Entity{
		PrimaryKey: public,
		Identities: map[string]*openpgp.Identity{id.Id: {
			Name: id.Id, UserId: id, SelfSignature: signature, Signatures: []*packet.Signature{signature},
		}},
	}}, nil
}

// Extend gives every user id of an existing key, armored or not, a newer self-signature with
// another end (zero: never). Everything else of the key stays. One signature for each id.
func Extend(ctx context.Context, signer Signer, data []byte, expires, at time.Time) (*Key, error) {
	key, err := Parse(data)
	if err != nil {
		return nil, err
	}
	if !key.IsOf(signer.Public()) {
		return nil, ErrOtherKey
	}
	for _, name := range key.ids {
		identity := key.entity.Identities[name]
		if len(identity.Revocations) > 0 {
			continue
		}
		said := claimsOf(identity.SelfSignature)
		// It must be later than the one before, or readers take that.
		said.created = now(at)
		if before := identity.SelfSignature.CreationTime; !said.created.After(before) {
			said.created = before.Add(time.Second)
		}
		if said.lifetime, err = lifetime(key.entity.PrimaryKey, said.created, expires); err != nil {
			return nil, err
		}
		renewed, err := certify(ctx, signer, key.entity.PrimaryKey, identity.UserId.Id, said)
		if err != nil {
			return nil, err
		}
		identity.SelfSignature = renewed
		identity.Signatures = append([]*packet.Signature{renewed}, identity.Signatures...)
	}
	return key, nil
}

// selfSignatureHash is as strong as the key: apt and rpm refuse SHA-1.
func selfSignatureHash(public crypto.PublicKey) crypto.Hash {
	key, ok := public.(*ecdsa.PublicKey)
	switch {
	case !ok:
		return crypto.SHA512
	case key.Curve.Params().BitSize <= 256:
		return crypto.SHA256
	case key.Curve.Params().BitSize <= 384:
		return crypto.SHA384
	}
	return crypto.SHA512
}

func now(t time.Time) time.Time {
	if t.IsZero() {
		t = time.Now()
	}
	return t.UTC().Truncate(time.Second)
}

// Parse reads one transferable public key, armored or binary. A key without a valid
// self-signature is refused, as gpg does.
func Parse(data []byte) (*Key, error) {
	keys, err := openpgp.ReadKeyRing(bytes.NewReader(data))
	if bytes.Contains(data, []byte("-----BEGIN PGP")) {
		keys, err = openpgp.ReadArmoredKeyRing(bytes.NewReader(data))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the OpenPGP public key: %w", err)
	}
	if len(keys) != 1 {
		return nil, fmt.Errorf("there are %d OpenPGP keys where one is expected", len(keys))
	}
	entity := keys[0]
	if entity.PrivateKey != nil {
		return nil, errors.New("this is a private OpenPGP key; a public one is expected")
	}
	key := &Key{entity: entity}
	for name, identity := range entity.Identities {
		if identity.SelfSignature != nil {
			key.ids = append(key.ids, name)
		}
	}
	if len(key.ids) == 0 {
		return nil, errors.New("the OpenPGP key has no user id that it has signed itself")
	}
	key.sortIDs()
	return key, nil
}

// sortIDs puts the primary user id first; the others follow by name.
func (k *Key) sortIDs() {
	primary := k.entity.PrimaryIdentity()
	rest := k.ids
	k.ids = nil
	if primary != nil {
		k.ids = []string{primary.Name}
	}
	for _, name := range slices.Sorted(slices.Values(rest)) {
		if primary == nil || name != primary.Name {
			k.ids = append(k.ids, name)
		}
	}
}

// Binary encodes the key as packets.
func (k *Key) Binary() ([]byte, error) {
	var b bytes.Buffer
	if err := k.entity.Serialize(&b); err != nil {
		return nil, fmt.Errorf("encoding the OpenPGP public key: %w", err)
	}
	return b.Bytes(), nil
}

// Armor encodes the key in ASCII armor (RFC 9580, section 6.2).
func (k *Key) Armor() ([]byte, error) {
	data, err := k.Binary()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	// With the checksum that the section leaves out: rpm before 4.20 takes no key without.
	w, err := armor.EncodeWithChecksumOption(&b, openpgp.PublicKeyType, nil, true)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n'), nil
}

// Fingerprint is that of the primary key: 40 upper-case hexadecimal digits for version 4.
func (k *Key) Fingerprint() string {
	return strings.ToUpper(fmt.Sprintf("%x", k.entity.PrimaryKey.Fingerprint))
}

// Created is the creation time of the primary key.
func (k *Key) Created() time.Time { return k.entity.PrimaryKey.CreationTime.UTC() }

// Expires is the end of the key, as its primary user id says; zero: never.
func (k *Key) Expires() time.Time {
	lifetime := k.entity.Identities[k.ids[0]].SelfSignature.KeyLifetimeSecs
	if lifetime == nil || *lifetime == 0 {
		return time.Time{}
	}
	return k.Created().Add(time.Duration(*lifetime) * time.Second)
}

// UserID is the primary user id.
func (k *Key) UserID() string { return k.ids[0] }

// IsOf reports whether the primary key is the given public key.
func (k *Key) IsOf(public crypto.PublicKey) bool {
	want, err := publicKeyPacket(public, k.entity.PrimaryKey.CreationTime)
	return err == nil && bytes.Equal(want.Fingerprint, k.entity.PrimaryKey.Fingerprint)
}

// Signing finds the key, primary or subkey, that has the given public key: its fingerprint and
// creation time.
func (k *Key) Signing(public crypto.PublicKey) (fingerprint string, created time.Time, err error) {
	candidates := []*packet.PublicKey{k.entity.PrimaryKey}
	for _, subkey := range k.entity.Subkeys {
		candidates = append(candidates, subkey.PublicKey)
	}
	for _, candidate := range candidates {
		want, err := publicKeyPacket(public, candidate.CreationTime)
		if err != nil {
			return "", time.Time{}, err
		}
		if bytes.Equal(want.Fingerprint, candidate.Fingerprint) {
			return strings.ToUpper(fmt.Sprintf("%x", candidate.Fingerprint)), candidate.CreationTime.UTC(), nil
		}
	}
	return "", time.Time{}, ErrOtherKey
}
