package signpath

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	armorBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	armorEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
)

// dearmor returns OpenPGP public key packets from their binary or ASCII-armored form
// (RFC 9580, section 6.2). An armor checksum, if there is one, must be right.
func dearmor(data []byte) ([]byte, error) {
	if begin := bytes.Index(data, []byte(armorBegin)); begin >= 0 {
		text, _, found := strings.Cut(string(data[begin+len(armorBegin):]), armorEnd)
		if !found {
			return nil, errors.New("the armor has no end line")
		}
		var err error
		if data, err = armoredBytes(text); err != nil {
			return nil, err
		}
	}
	if !startsWithPublicKey(data) {
		return nil, errors.New("it does not start with an OpenPGP public key packet")
	}
	return data, nil
}

// armoredBytes reads what is between the begin and end lines: headers, an empty line,
// base64, and a checksum line that starts with "=".
func armoredBytes(text string) ([]byte, error) {
	var body, checksum strings.Builder
	inHeaders := true
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case i == 0: // the rest of the begin line
		case inHeaders && (line == "" || strings.Contains(line, ": ")):
			inHeaders = line != ""
		case strings.HasPrefix(line, "="):
			checksum.WriteString(line[1:])
		default:
			inHeaders = false
			body.WriteString(line)
		}
	}
	data, err := base64.StdEncoding.DecodeString(body.String())
	if err != nil {
		return nil, fmt.Errorf("the armor is not base64: %w", err)
	}
	if checksum.Len() == 0 {
		return data, nil
	}
	sum, err := base64.StdEncoding.DecodeString(checksum.String())
	if err != nil || !bytes.Equal(sum, crc24(data)) {
		return nil, errors.New("the armor's checksum is wrong")
	}
	return data, nil
}

// crc24 is the checksum of RFC 9580, section 6.1.1, in three octets.
func crc24(data []byte) []byte {
	crc := uint32(0xb704ce)
	for _, b := range data {
		crc ^= uint32(b) << 16
		for range 8 {
			crc <<= 1
			if crc&0x1000000 != 0 {
				crc ^= 0x1864cfb
			}
		}
	}
	return []byte{byte(crc >> 16), byte(crc >> 8), byte(crc)}
}

// startsWithPublicKey looks for packet type 6 in either header format (RFC 9580, section 4.2).
func startsWithPublicKey(data []byte) bool {
	const publicKey = 6
	if len(data) < 2 || data[0]&0x80 == 0 {
		return false
	}
	if data[0]&0x40 != 0 {
		return data[0]&0x3f == publicKey
	}
	return data[0]&0x3f>>2 == publicKey
}
