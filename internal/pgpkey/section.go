package pgpkey

import (
	"bytes"
	"slices"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Packet tags (RFC 9580, section 5).
const (
	tagSignature = 2
	tagPublicKey = 6
	tagUserID    = 13
)

// section is a key, a user id or something else, with the packets that follow and belong to it.
type section struct {
	head *packet.OpaquePacket
	rest []*packet.OpaquePacket
}

// sections groups the packets: what is no signature begins a section.
func (k *Key) sections() []section { return sectionsOf(k.packets) }

func sectionsOf(packets []*packet.OpaquePacket) []section {
	var all []section
	for _, p := range packets {
		if p.Tag != tagSignature || len(all) == 0 {
			all = append(all, section{head: p})
			continue
		}
		last := &all[len(all)-1]
		last.rest = append(last.rest, p)
	}
	return all
}

// merge adds to the packets of a key what another copy of it has more: to the same user ids and subkeys, and those that are new.
func merge(key, other []*packet.OpaquePacket) []*packet.OpaquePacket {
	all := sectionsOf(key)
	for _, s := range sectionsOf(other) {
		i := slices.IndexFunc(all, func(known section) bool { return samePacket(known.head, s.head) })
		if i < 0 {
			all = append(all, s)
			continue
		}
		for _, p := range s.rest {
			if !slices.ContainsFunc(all[i].rest, func(known *packet.OpaquePacket) bool { return samePacket(known, p) }) {
				all[i].rest = append(all[i].rest, p)
			}
		}
	}
	var merged, subkeys []*packet.OpaquePacket
	for _, s := range all {
		part := &merged // user ids go before subkeys
		if s.head.Tag == tagPublicSubkey {
			part = &subkeys
		}
		*part = append(append(*part, s.head), s.rest...)
	}
	return append(merged, subkeys...)
}

func samePacket(a, b *packet.OpaquePacket) bool {
	return a.Tag == b.Tag && bytes.Equal(a.Contents, b.Contents)
}

// id is empty for what is no user id.
func (s section) id() string {
	if s.head.Tag != tagUserID {
		return ""
	}
	return string(s.head.Contents)
}

// selfSignature is a signature that the key has made about itself, and that verifies.
type selfSignature struct {
	parsed *packet.Signature
	body   []byte
}

var (
	certifications = []packet.SignatureType{
		packet.SigTypeGenericCert, packet.SigTypePersonaCert, packet.SigTypeCasualCert, packet.SigTypePositiveCert}
	direct      = []packet.SignatureType{packet.SigTypeDirectSignature}
	revocations = []packet.SignatureType{packet.SigTypeCertificationRevocation}
)

// latest is the self-signature that counts: the newest certification of a user id that has
// not been revoked since, or the newest direct-key signature of the primary key.
func (s section) latest(primary *packet.PublicKey) *selfSignature {
	switch s.head.Tag {
	case tagPublicKey:
		return s.latestOf(primary, direct...)
	case tagUserID:
		self, revoked := s.latestOf(primary, certifications...), s.latestOf(primary, revocations...)
		if self != nil && revoked != nil && !self.parsed.CreationTime.After(revoked.parsed.CreationTime) {
			return nil
		}
		return self
	}
	return nil
}

func (s section) latestOf(primary *packet.PublicKey, kinds ...packet.SignatureType) *selfSignature {
	var best *selfSignature
	for _, p := range s.rest {
		parsed, err := p.Parse()
		signature, ok := parsed.(*packet.Signature)
		if err != nil || !ok || signature.Version != 4 || !slices.Contains(kinds, signature.SigType) {
			continue
		}
		if best != nil && !signature.CreationTime.After(best.parsed.CreationTime) || !s.verifies(primary, signature) {
			continue
		}
		best = &selfSignature{signature, p.Contents}
	}
	return best
}

func (s section) verifies(primary *packet.PublicKey, signature *packet.Signature) bool {
	if !signature.CheckKeyIdOrFingerprint(primary) {
		return false
	}
	if s.head.Tag == tagUserID {
		return primary.VerifyUserIdSignature(s.id(), primary, signature) == nil
	}
	return primary.VerifyDirectKeySignature(signature) == nil
}
