package pgpkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Public-key algorithms (RFC 9580, section 9.1).
const (
	algorithmRSA   = 1
	algorithmECDSA = 19
)

// minRSA is the smallest RSA key that verifiers still accept (bits).
const minRSA = 2048

// curveOID is the curve's object identifier without tag and length (RFC 9580, section 9.2).
func curveOID(curve elliptic.Curve) []byte {
	switch curve {
	case elliptic.P256():
		return []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	case elliptic.P384():
		return []byte{0x2b, 0x81, 0x04, 0x00, 0x22}
	case elliptic.P521():
		return []byte{0x2b, 0x81, 0x04, 0x00, 0x23}
	}
	return nil
}

// publicKeyPacket makes the version 4 packet of a key (RFC 9580, section 5.5.2.2). It is read
// back by the library, which has no constructor for keys of package crypto.
func publicKeyPacket(public crypto.PublicKey, created time.Time) (*packet.PublicKey, error) {
	body, err := publicKeyBody(public, created)
	if err != nil {
		return nil, err
	}
	// Tag 6 in the new format with a length of five octets (section 4.2.1.3).
	data := binary.BigEndian.AppendUint32([]byte{0xc0 | 6, 0xff}, uint32(len(body)))
	parsed, err := packet.Read(bytes.NewReader(append(data, body...)))
	if err != nil {
		return nil, fmt.Errorf("making the public-key packet: %w", err)
	}
	key, ok := parsed.(*packet.PublicKey)
	if !ok {
		return nil, fmt.Errorf("making the public-key packet: it reads as %T", parsed)
	}
	return key, nil
}

func publicKeyBody(public crypto.PublicKey, created time.Time) ([]byte, error) {
	body := binary.BigEndian.AppendUint32([]byte{4}, uint32(created.Unix()))
	switch key := public.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSA {
			return nil, fmt.Errorf("an RSA key of %d bits is too short; verifiers demand %d", key.N.BitLen(), minRSA)
		}
		body = append(body, algorithmRSA)
		return appendMPI(appendMPI(body, key.N), big.NewInt(int64(key.E))), nil
	case *ecdsa.PublicKey:
		oid := curveOID(key.Curve)
		if oid == nil {
			return nil, fmt.Errorf("keys of the curve %s are not supported", key.Curve.Params().Name)
		}
		point, err := key.Bytes() // 04, X, Y
		if err != nil {
			return nil, err
		}
		body = append(append(body, algorithmECDSA, byte(len(oid))), oid...)
		return appendMPI(body, new(big.Int).SetBytes(point)), nil
	}
	return nil, errors.New("only RSA and ECDSA keys can be OpenPGP keys here")
}

// appendMPI adds a multiprecision integer (RFC 9580, section 3.2).
func appendMPI(data []byte, n *big.Int) []byte {
	return append(binary.BigEndian.AppendUint16(data, uint16(n.BitLen())), n.Bytes()...)
}
