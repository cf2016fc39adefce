package pgpkey

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Key is a transferable public key. Its packets are kept as they were read.
type Key struct {
	packets []*packet.OpaquePacket
	entity  *openpgp.Entity // the same, understood
	primary string          // user id
	hash    crypto.Hash     // of its self-signature
	ids     []string        // user ids with a self-signature, in their order
	revoked map[string]bool // user ids
	expires time.Time
}

// maxKey is more than any key has that is for signing, photographs and signatures of others included.
const maxKey = 1 << 20

// Parse reads one transferable public key, armored or binary. A key without a valid
// self-signature is refused, as gpg does.
func Parse(data []byte) (*Key, error) {
	if len(data) > maxKey {
		return nil, fmt.Errorf("an OpenPGP public key of %d bytes is too long; %d are read", len(data), maxKey)
	}
	data, err := dearmor(data)
	if err != nil {
		return nil, fmt.Errorf("reading the OpenPGP public key: %w", err)
	}
	var packets []*packet.OpaquePacket
	for reader := packet.NewOpaqueReader(bytes.NewReader(data)); ; {
		p, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the OpenPGP public key: %w", err)
		}
		packets = append(packets, p)
	}
	return read(packets)
}

func dearmor(data []byte) ([]byte, error) {
	switch blocks := bytes.Count(data, []byte("-----BEGIN PGP")); {
	case blocks == 0:
		return data, nil
	case blocks > 1:
		return nil, fmt.Errorf("there are %d armored blocks where one is expected", blocks)
	}
	block, err := armor.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if block.Type == openpgp.PrivateKeyType {
		return nil, errPrivate
	}
	if block.Type != openpgp.PublicKeyType {
		return nil, fmt.Errorf("it is a %s", block.Type)
	}
	return io.ReadAll(block.Body)
}

var errPrivate = errors.New("this is a private OpenPGP key; a public one is expected")

// read understands the packets, and checks the self-signatures.
func read(packets []*packet.OpaquePacket) (*Key, error) {
	key := &Key{packets: packets, revoked: map[string]bool{}}
	data, err := key.Binary()
	if err != nil {
		return nil, err
	}
	keys, err := openpgp.ReadKeyRing(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("reading the OpenPGP public key: %w", err)
	}
	if len(keys) != 1 {
		return nil, fmt.Errorf("there are %d OpenPGP keys where one is expected", len(keys))
	}
	key.entity = keys[0]
	if key.entity.PrivateKey != nil {
		return nil, errPrivate
	}
	key.understand()
	if len(key.ids) == 0 {
		return nil, errors.New("the OpenPGP key has no user id that it has signed itself")
	}
	return key, nil
}

// understand finds the primary user id and the end of the key, as gpg does: a direct-key
// signature with an end goes first; a user id that has been revoked goes last.
func (k *Key) understand() {
	var whole, best *packet.Signature // about the key, about its primary user id
	for _, s := range k.sections() {
		latest := s.latest(k.entity.PrimaryKey)
		switch {
		case s.head.Tag == tagPublicKey && latest != nil:
			whole = latest.parsed
		case s.head.Tag == tagUserID:
			self := s.latestOf(k.entity.PrimaryKey, certifications...)
			if self == nil {
				continue
			}
			k.ids = append(k.ids, s.id())
			k.revoked[s.id()] = latest == nil
			if best == nil || k.prefers(s.id(), self.parsed, best) {
				k.primary, best, k.hash = s.id(), self.parsed, self.parsed.Hash
			}
		}
	}
	for _, signature := range []*packet.Signature{whole, best} {
		if signature != nil && signature.KeyLifetimeSecs != nil && *signature.KeyLifetimeSecs > 0 {
			k.expires = k.Created().Add(time.Duration(*signature.KeyLifetimeSecs) * time.Second)
			return
		}
	}
}

// prefers reports whether a user id goes before the one that is the primary until now.
func (k *Key) prefers(id string, self, best *packet.Signature) bool {
	if k.revoked[id] != k.revoked[k.primary] {
		return !k.revoked[id]
	}
	if isPrimary(self) != isPrimary(best) {
		return isPrimary(self)
	}
	return self.CreationTime.After(best.CreationTime)
}

func isPrimary(s *packet.Signature) bool { return s.IsPrimaryId != nil && *s.IsPrimaryId }

// Binary encodes the key as packets.
func (k *Key) Binary() ([]byte, error) {
	var b bytes.Buffer
	for _, p := range k.packets {
		b.Write(header(p))
		b.Write(p.Contents)
	}
	return b.Bytes(), nil
}

// header is of the old format where that can be (RFC 9580, section 4.2.2), as in what gpg
// exports: it is what the oldest readers know.
func header(p *packet.OpaquePacket) []byte {
	size := len(p.Contents)
	switch {
	case p.Tag > 15:
		return binary.BigEndian.AppendUint32([]byte{0xc0 | p.Tag, 0xff}, uint32(size))
	case size < 1<<8:
		return []byte{0x80 | p.Tag<<2, byte(size)}
	case size < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{0x81 | p.Tag<<2}, uint16(size))
	}
	return binary.BigEndian.AppendUint32([]byte{0x82 | p.Tag<<2}, uint32(size))
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
func (k *Key) Fingerprint() string { return fingerprint(k.entity.PrimaryKey) }

func fingerprint(key *packet.PublicKey) string {
	return strings.ToUpper(fmt.Sprintf("%x", key.Fingerprint))
}

// Created is the creation time of the primary key.
func (k *Key) Created() time.Time { return k.entity.PrimaryKey.CreationTime.UTC() }

// Expires is the end of the key; zero: never.
func (k *Key) Expires() time.Time { return k.expires }

// UserID is the primary user id.
func (k *Key) UserID() string { return k.primary }

// Hash is that of the self-signature of the primary user id.
func (k *Key) Hash() crypto.Hash { return k.hash }

// IsWeak reports whether the self-signature has a hash shorter than SHA-256, for which apt of Debian 13, rpm from 4.20 on and RHEL
// from 9 on refuse the whole key.
func (k *Key) IsWeak() bool { return k.hash.Size() < crypto.SHA256.Size() }

// IsECDSA reports whether the primary key is one (RFC 9580, section 9.1).
func (k *Key) IsECDSA() bool { return k.entity.PrimaryKey.PubKeyAlgo == packet.PubKeyAlgoECDSA }

// IsOf reports whether the primary key is the given public key.
func (k *Key) IsOf(public crypto.PublicKey) bool {
	want, err := publicKeyPacket(public, k.entity.PrimaryKey.CreationTime)
	return err == nil && bytes.Equal(want.Fingerprint, k.entity.PrimaryKey.Fingerprint)
}

// Signing finds the key, primary or subkey, that has the given public key: its fingerprint and
// creation time.
func (k *Key) Signing(public crypto.PublicKey) (string, time.Time, error) {
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
			return fingerprint(candidate), candidate.CreationTime.UTC(), nil
		}
	}
	return "", time.Time{}, ErrOtherKey
}
