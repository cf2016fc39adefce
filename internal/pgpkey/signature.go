package pgpkey

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	_ "crypto/sha256" // hashes of self-signatures
	_ "crypto/sha512"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// claims are what a self-signature says (RFC 9580, section 5.2.3.11 and following).
type claims struct {
	created      time.Time
	lifetime     uint32 // of the key, in seconds; 0: for ever
	flags        byte   // what the key is for
	primary      bool   // the user id is the primary one
	symmetric    []byte // preferences
	hashes       []byte
	compressions []byte
	features     []byte
	keyserver    []byte
}

// Subpacket types (RFC 9580, section 5.2.3.7).
const (
	subCreated      = 2
	subKeyLifetime  = 9
	subSymmetric    = 11
	subIssuer       = 16
	subHashes       = 21
	subCompressions = 22
	subKeyserver    = 23
	subPrimary      = 25
	subFlags        = 27
	subFeatures     = 30
	subFingerprint  = 33
)

// Key flags (RFC 9580, section 5.2.3.29).
const (
	flagCertify      = 0x01
	flagSign         = 0x02
	flagAuthenticate = 0x20
)

// hashed encodes the claims. None is marked critical, as with gpg: rpm before 4.20 refuses a
// key whose end is. (The library marks it, which is why the signature is made here.)
func (c claims) hashed(issuer []byte) []byte {
	var area []byte
	add := func(kind byte, data ...byte) {
		if len(data) > 0 {
			area = append(append(area, byte(len(data)+1), kind), data...) // all are shorter than 192
		}
	}
	add(subFingerprint, append([]byte{4}, issuer...)...)
	add(subCreated, binary.BigEndian.AppendUint32(nil, uint32(c.created.Unix()))...)
	add(subFlags, c.flags)
	if c.lifetime > 0 {
		add(subKeyLifetime, binary.BigEndian.AppendUint32(nil, c.lifetime)...)
	}
	add(subSymmetric, c.symmetric...)
	add(subHashes, c.hashes...)
	add(subCompressions, c.compressions...)
	add(subFeatures, c.features...)
	add(subKeyserver, c.keyserver...)
	if c.primary {
		add(subPrimary, 1)
	}
	return area
}

// hashIDs are the numbers of RFC 9580, section 9.5.
var hashIDs = map[crypto.Hash]byte{crypto.SHA256: 8, crypto.SHA384: 9, crypto.SHA512: 10}

// certify makes a positive certification of a user id (type 0x13) of version 4.
func certify(ctx context.Context, signer Signer, public *packet.PublicKey, id string, c claims) (*packet.Signature, error) {
	hash := selfSignatureHash(signer.Public())
	area := c.hashed(public.Fingerprint)
	head := []byte{4, byte(packet.SigTypePositiveCert), byte(public.PubKeyAlgo), hashIDs[hash]}
	head = append(binary.BigEndian.AppendUint16(head, uint16(len(area))), area...)

	// What is hashed: key, user id, the head and its length (RFC 9580, section 5.2.4).
	digester := hash.New()
	if err := public.SerializeForHash(digester); err != nil {
		return nil, err
	}
	digester.Write(binary.BigEndian.AppendUint32([]byte{0xb4}, uint32(len(id))))
	digester.Write([]byte(id))
	digester.Write(head)
	digester.Write(binary.BigEndian.AppendUint32([]byte{4, 0xff}, uint32(len(head))))
	digest := digester.Sum(nil)

	signature, err := signer.SignContext(ctx, digest, hash)
	if err != nil {
		return nil, fmt.Errorf("signing the user id: %w", err)
	}
	unhashed := append([]byte{9, subIssuer}, public.Fingerprint[len(public.Fingerprint)-8:]...)
	body := append(binary.BigEndian.AppendUint16(head, uint16(len(unhashed))), unhashed...)
	body = append(body, digest[:2]...)
	if body, err = appendSignature(body, signer.Public(), signature); err != nil {
		return nil, err
	}
	return readSignature(body)
}

// appendSignature adds the MPIs of RSA (one) or ECDSA (r and s, from DER; RFC 3279, section
// 2.2.3).
func appendSignature(body []byte, public crypto.PublicKey, signature []byte) ([]byte, error) {
	if _, ok := public.(*ecdsa.PublicKey); !ok {
		return appendMPI(body, new(big.Int).SetBytes(signature)), nil
	}
	var pair struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(signature, &pair)
	if err != nil || len(rest) > 0 || pair.R.Sign() <= 0 || pair.S.Sign() <= 0 {
		return nil, errors.Join(errors.New("the ECDSA signature is no SEQUENCE of two positive numbers"), err)
	}
	return appendMPI(appendMPI(body, pair.R), pair.S), nil
}

// readSignature lets the library read what was made, as everybody else will.
func readSignature(body []byte) (*packet.Signature, error) {
	// Tag 2 in the new format with a length of five octets.
	data := binary.BigEndian.AppendUint32([]byte{0xc0 | 2, 0xff}, uint32(len(body)))
	parsed, err := packet.Read(bytes.NewReader(append(data, body...)))
	if err != nil {
		return nil, fmt.Errorf("making the self-signature: %w", err)
	}
	signature, ok := parsed.(*packet.Signature)
	if !ok {
		return nil, fmt.Errorf("making the self-signature: it reads as %T", parsed)
	}
	return signature, nil
}

// claimsOf copies what an older self-signature says about the key and its owner.
func claimsOf(old *packet.Signature) claims {
	c := claims{
		flags: flagCertify | flagSign, symmetric: old.PreferredSymmetric, hashes: old.PreferredHash,
		compressions: old.PreferredCompression, primary: old.IsPrimaryId != nil && *old.IsPrimaryId,
	}
	if old.FlagAuthenticate {
		c.flags |= flagAuthenticate
	}
	if old.SEIPDv1 {
		c.features = []byte{1}
	}
	if old.KeyserverPrefNoModify {
		c.keyserver = []byte{0x80}
	}
	return c
}

// lifetime is the key's in seconds; an end that is not after the present is refused.
func lifetime(public *packet.PublicKey, at, expires time.Time) (uint32, error) {
	if expires.IsZero() {
		return 0, nil
	}
	seconds := int64(expires.Sub(public.CreationTime) / time.Second)
	if seconds <= 0 || seconds > 1<<32-1 || !expires.After(at) {
		return 0, fmt.Errorf("the end of the key, %s, is not after its beginning and the present time", expires.UTC().Format(time.DateOnly))
	}
	return uint32(seconds), nil
}
