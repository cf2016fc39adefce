package mockapi

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"math/big"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgpecdsa "github.com/ProtonMail/go-crypto/openpgp/ecdsa"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
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

// newTransferableKey wraps key as a primary key that can sign and certify,
// with one user id and a self-signature, valid for two years.
func newTransferableKey(key crypto.Signer, name, email string, created time.Time) ([]byte, error) {
	private, err := openPGPKey(key, created)
	if err != nil {
		return nil, err
	}
	entity := &openpgp.Entity{PrimaryKey: &private.PublicKey, PrivateKey: private, Identities: map[string]*openpgp.Identity{}}
	config := &packet.Config{
		Time:            func() time.Time { return created },
		DefaultHash:     selfSignatureHash(key),
		KeyLifetimeSecs: uint32(2 * year / time.Second),
	}
	if err := entity.AddUserId(name, "", email, config); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = entity.Serialize(&b)
	return b.Bytes(), err
}

func openPGPKey(key crypto.Signer, created time.Time) (*packet.PrivateKey, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return packet.NewRSAPrivateKey(created, k), nil
	case *ecdsa.PrivateKey:
		return openPGPCurveKey(k, created)
	}
	return nil, fmt.Errorf("no OpenPGP form of a %T", key)
}

// openPGPCurveKey goes through an encoded public-key packet (RFC 9580, section
// 5.5.2.2), since the library's curves are internal to it.
func openPGPCurveKey(k *ecdsa.PrivateKey, created time.Time) (*packet.PrivateKey, error) {
	point, err := k.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	secret, err := k.Bytes()
	if err != nil {
		return nil, err
	}
	oid := curveOID(k.Curve.Params().BitSize)
	body := binary.BigEndian.AppendUint32([]byte{4}, uint32(created.Unix()))
	body = append(body, byte(packet.PubKeyAlgoECDSA), byte(len(oid)))
	body = append(body, oid...)
	body = binary.BigEndian.AppendUint16(body, uint16(len(point)*8-5)) // an MPI: the first octet is 4, three bits
	body = append(body, point...)
	header := []byte{0x80 | 6<<2 | 1, byte(len(body) >> 8), byte(len(body))}
	p, err := packet.Read(bytes.NewReader(append(header, body...)))
	if err != nil {
		return nil, err
	}
	public, ok := p.(*packet.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the packet read back is a %T", p)
	}
	private := pgpecdsa.NewPrivateKey(*public.PublicKey.(*pgpecdsa.PublicKey))
	private.D = new(big.Int).SetBytes(secret)
	return packet.NewECDSAPrivateKey(created, private), nil
}

// curveOID is the curve's identifier as RFC 9580, section 9.2 lists it.
func curveOID(bits int) []byte {
	switch bits {
	case 256:
		return []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	case 384:
		return []byte{0x2b, 0x81, 0x04, 0x00, 0x22}
	}
	return []byte{0x2b, 0x81, 0x04, 0x00, 0x23}
}

// selfSignatureHash fits the key: RFC 9580, section 5.2.3.2 wants no digest shorter than the curve.
func selfSignatureHash(key crypto.Signer) crypto.Hash {
	if k, ok := key.(*ecdsa.PrivateKey); ok && k.Curve.Params().BitSize > 256 {
		return map[int]crypto.Hash{384: crypto.SHA384, 521: crypto.SHA512}[k.Curve.Params().BitSize]
	}
	return crypto.SHA256
}

// holdsKey reports whether a stored transferable key is that of key.
func holdsKey(public []byte, key crypto.Signer) bool {
	entity, err := openpgp.ReadEntity(packet.NewReader(bytes.NewReader(public)))
	if err != nil {
		return false
	}
	private, err := openPGPKey(key, entity.PrimaryKey.CreationTime)
	return err == nil && bytes.Equal(private.Fingerprint, entity.PrimaryKey.Fingerprint)
}

func armored(public []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(public); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
