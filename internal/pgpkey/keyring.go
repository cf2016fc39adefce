package pgpkey

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Packet tags of other keys (RFC 9580, section 5.5.1).
const (
	tagPrivateKey   = 5
	tagPublicSubkey = 14
)

// EndedError is the error for a key whose signatures no longer count.
type EndedError struct {
	Fingerprint string
	Revoked     bool
	Expired     time.Time // of a key that is not revoked
}

func (e *EndedError) Error() string {
	if e.Revoked {
		return fmt.Sprintf("the OpenPGP key %s has been revoked", e.Fingerprint)
	}
	return fmt.Sprintf("the OpenPGP key %s expired on %s", e.Fingerprint, e.Expired.Format(time.DateOnly))
}

// ParseAll reads every transferable public key in data: one armored block or several, or
// packets as they are. A key that cannot be read is left out, as gpgv does: a distribution's keyring has odd ones.
// The error says why where no key is left.
func ParseAll(data []byte) ([]*Key, error) {
	if len(data) > maxKeyring {
		return nil, fmt.Errorf("OpenPGP public keys of %d bytes are too long; %d are read", len(data), maxKeyring)
	}
	if bytes.Contains(data, []byte("-----BEGIN PGP")) {
		var err error
		if data, err = dearmorAll(data); err != nil {
			return nil, fmt.Errorf("reading the OpenPGP public keys: %w", err)
		}
	}
	var keys []*Key
	var odd error // of the first key that is left out
	var packets []*packet.OpaquePacket
	flush := func() error {
		if len(packets) == 0 {
			return nil
		}
		key, err := read(packets)
		packets = nil
		switch {
		case errors.Is(err, errPrivate): // and not what the caller means to show around
			return err
		case err == nil:
			keys = withCopy(keys, key)
		case odd == nil:
			odd = err
		}
		return nil
	}
	for reader := packet.NewOpaqueReader(bytes.NewReader(data)); ; {
		p, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the OpenPGP public keys: %w", err)
		}
		if p.Tag == tagPublicKey || p.Tag == tagPrivateKey { // which is refused
			if err := flush(); err != nil {
				return nil, err
			}
		}
		packets = append(packets, p)
	}
	if err := flush(); err != nil {
		return nil, err
	}
	if len(keys) == 0 && odd != nil {
		return nil, odd
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no OpenPGP public key")
	}
	return keys, nil
}

// withCopy adds a key. Several copies of one are one key with all that they say, as for gpg: what one says of a revocation or an end
// would count for nothing beside an older one.
func withCopy(keys []*Key, key *Key) []*Key {
	i := slices.IndexFunc(keys, func(known *Key) bool {
		return bytes.Equal(known.entity.PrimaryKey.Fingerprint, key.entity.PrimaryKey.Fingerprint)
	})
	if i < 0 {
		return append(keys, key)
	}
	merged, err := read(merge(keys[i].packets, key.packets))
	if err != nil { // as each of them could be read, so can they together
		return slices.Delete(keys, i, i+1)
	}
	keys[i] = merged
	return keys
}

// maxKeyring is room for the keys of a distribution.
const maxKeyring = 64 << 20

func dearmorAll(data []byte) ([]byte, error) {
	var all []byte
	// A reader of its own size: armor.Decode then keeps what it has read ahead.
	for reader := bufio.NewReaderSize(bytes.NewReader(data), 4096); ; {
		block, err := armor.Decode(reader)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if block.Type == openpgp.PrivateKeyType {
			return nil, errPrivate
		}
		if block.Type != openpgp.PublicKeyType {
			return nil, fmt.Errorf("it is a %s", block.Type)
		}
		packets, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, err
		}
		all = append(all, packets...)
	}
}

// At returns the key as it verifies signatures at the given time: without subkeys that are
// revoked then, or have ended. A key that is revoked or has ended as a whole is an *EndedError.
// Verifiers such as gpgv look at neither. With expired, key and subkeys count beyond their end.
func (k *Key) At(now time.Time, expired bool) (*Key, error) {
	ended := &EndedError{Fingerprint: k.Fingerprint(), Expired: k.expires}
	if k.entity.Revoked(now) {
		ended.Revoked = true
		return nil, ended
	}
	if !expired && !k.expires.IsZero() && !now.Before(k.expires) {
		return nil, ended
	}
	current := map[string]bool{}
	for _, subkey := range k.entity.Subkeys {
		if !subkey.Revoked(now) && subkey.Sig != nil && (expired || !subkey.PublicKey.KeyExpired(subkey.Sig, now)) {
			current[string(subkey.PublicKey.Fingerprint)] = true
		}
	}
	var kept []*packet.OpaquePacket
	for _, s := range k.sections() {
		if s.head.Tag == tagPublicSubkey {
			parsed, err := s.head.Parse()
			subkey, ok := parsed.(*packet.PublicKey)
			if err != nil || !ok || !current[string(subkey.Fingerprint)] {
				continue
			}
		}
		kept = append(append(kept, s.head), s.rest...)
	}
	if len(kept) == len(k.packets) {
		return k, nil
	}
	return read(kept)
}

// KeyIDs are the last 16 digits of the fingerprints of the primary key and of its subkeys, in
// their order: what signatures and debsig-verify name a key by.
func (k *Key) KeyIDs() []string {
	ids := []string{k.entity.PrimaryKey.KeyIdString()}
	for _, subkey := range k.entity.Subkeys {
		ids = append(ids, subkey.PublicKey.KeyIdString())
	}
	return ids
}
