package pgpkey

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	_ "crypto/sha256" // hashes of self-signatures
	_ "crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/big"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"signkit/internal/key"
)

// statement is a self-signature to be made.
type statement struct {
	kind packet.SignatureType
	id   string // the user id; empty for a direct-key signature
	area []byte // hashed subpackets
}

// hashIDs are the numbers of RFC 9580, section 9.5.
var hashIDs = map[crypto.Hash]byte{crypto.SHA256: 8, crypto.SHA384: 9, crypto.SHA512: 10}

// certify makes the body of a self-signature of version 4. (The library's own way marks the
// end of the key as critical, and rpm before 4.20 refuses such a key.)
func certify(ctx context.Context, signer key.Signer, public *packet.PublicKey, s statement) ([]byte, error) {
	hash := selfSignatureHash(signer.Public())
	head := []byte{4, byte(s.kind), byte(public.PubKeyAlgo), hashIDs[hash]}
	head = append(binary.BigEndian.AppendUint16(head, uint16(len(s.area))), s.area...)

	// What is hashed: key, user id, the head and its length (RFC 9580, section 5.2.4).
	digester := hash.New()
	if err := public.SerializeForHash(digester); err != nil {
		return nil, err
	}
	if s.kind == packet.SigTypePositiveCert {
		digester.Write(binary.BigEndian.AppendUint32([]byte{0xb4}, uint32(len(s.id))))
		digester.Write([]byte(s.id))
	}
	digester.Write(head)
	digester.Write(binary.BigEndian.AppendUint32([]byte{4, 0xff}, uint32(len(head))))
	digest := digester.Sum(nil)

	signature, err := signer.SignContext(ctx, digest, hash)
	if err != nil {
		return nil, fmt.Errorf("signing the OpenPGP key: %w", err)
	}
	unhashed := append([]byte{9, subIssuer}, public.Fingerprint[len(public.Fingerprint)-8:]...)
	body := append(binary.BigEndian.AppendUint16(head, uint16(len(unhashed))), unhashed...)
	return appendSignature(append(body, digest[:2]...), signer.Public(), signature)
}

// appendSignature adds the MPIs of RSA (one) or ECDSA (r and s, from DER; RFC 3279, section
// 2.2.3).
func appendSignature(body []byte, public crypto.PublicKey, signature []byte) ([]byte, error) {
	if _, ok := public.(*ecdsa.PublicKey); !ok {
		return appendMPI(body, new(big.Int).SetBytes(signature)), nil
	}
	r, s, err := key.SplitASN1(signature)
	if err != nil {
		return nil, err
	}
	return appendMPI(appendMPI(body, r), s), nil
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
