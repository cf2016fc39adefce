package pgpkey

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Subpacket types (RFC 9580, section 5.2.3.7).
const (
	subCreated     = 2
	subExpires     = 3
	subKeyLifetime = 9
	subIssuer      = 16
	subNotation    = 20
	subHashes      = 21
	subPrimary     = 25
	subFlags       = 27
	subTarget      = 31
	subFingerprint = 33

	critical = 0x80
)

// Key flags (RFC 9580, section 5.2.3.29).
const (
	flagCertify = 0x01
	flagSign    = 0x02
)

// area is the hashed subpackets of a signature. None is marked critical, as with gpg: rpm
// before 4.20 refuses a key whose end is.
type area []byte

func (a *area) add(kind byte, data ...byte) {
	*a = append(append(*a, byte(len(data)+1), kind), data...) // all are shorter than 192
}

// begin is what every self-signature says first.
func begin(public *packet.PublicKey, at time.Time) area {
	var a area
	a.add(subFingerprint, append([]byte{4}, public.Fingerprint...)...)
	a.add(subCreated, binary.BigEndian.AppendUint32(nil, uint32(at.Unix()))...)
	return a
}

func (a *area) addLifetime(seconds uint32) {
	if seconds > 0 {
		a.add(subKeyLifetime, binary.BigEndian.AppendUint32(nil, seconds)...)
	}
}

// newArea is that of a new key, for certifying and signing.
func newArea(public *packet.PublicKey, at time.Time, seconds uint32) []byte {
	a := begin(public, at)
	a.add(subFlags, flagCertify|flagSign)
	a.addLifetime(seconds)
	a.add(subHashes, 10, 9, 8)
	a.add(subPrimary, 1)
	return a
}

// renewedArea says what an older signature said (its body is given), with other times.
func renewedArea(public *packet.PublicKey, at time.Time, seconds uint32, old []byte) ([]byte, error) {
	said, err := hashedSubpackets(old)
	if err != nil {
		return nil, fmt.Errorf("reading the self-signature: %w", err)
	}
	a := begin(public, at)
	a.addLifetime(seconds)
	for _, s := range said {
		if s.replaced() {
			continue
		}
		s.SubType &^= critical
		var b bytes.Buffer
		if err := s.Serialize(&b); err != nil {
			return nil, err
		}
		a = append(a, b.Bytes()...)
	}
	if len(a) > 1<<16-1 {
		return nil, errors.New("the self-signature says too much to be renewed")
	}
	return a, nil
}

type subpacket struct{ *packet.OpaqueSubpacket }

// hashedSubpackets reads them from the body of a signature of version 4 (RFC 9580, section 5.2.3).
func hashedSubpackets(body []byte) ([]subpacket, error) {
	if len(body) < 6 || body[0] != 4 {
		return nil, errors.New("it is not of version 4")
	}
	length := int(binary.BigEndian.Uint16(body[4:]))
	if len(body) < 6+length {
		return nil, errors.New("it is cut short")
	}
	opaque, err := packet.OpaqueSubpackets(body[6 : 6+length])
	var all []subpacket
	for _, s := range opaque {
		all = append(all, subpacket{s})
	}
	return all, err
}

// replaced reports that a renewed signature does not repeat the subpacket: times, issuer, and
// the random notation that some programs add to make signatures differ.
func (s subpacket) replaced() bool {
	switch s.SubType &^ critical {
	case subCreated, subExpires, subKeyLifetime, subIssuer, subTarget, subFingerprint:
		return true
	case subNotation:
		return bytes.Contains(s.Contents, []byte("salt@notations."))
	}
	return false
}
