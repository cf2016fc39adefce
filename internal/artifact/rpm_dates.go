package artifact

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// datedRPM checks that no signature in a package is of a day to come: rpmkeys takes them.
func datedRPM(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	signatures, err := rpmSignatures(file)
	if err != nil {
		return fmt.Errorf("reading the package's signatures: %w", err)
	}
	for _, data := range signatures {
		for reader := packet.NewOpaqueReader(bytes.NewReader(data)); ; {
			raw, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("reading the signature: %w", err)
			}
			signature, err := rpmSignature(raw)
			if err != nil {
				return err
			}
			if err := dated(signature, time.Now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// rpmSignature reads a packet as far as its date goes. One of a kind that is not known here, as of another's key of a new
// kind beside ours, has none: no key that could be named makes such signatures.
func rpmSignature(raw *packet.OpaquePacket) (*packet.Signature, error) {
	// Version 3 (RFC 4880, section 5.2.2), which packages of CentOS 7 have: the date follows the type.
	if body := raw.Contents; len(body) >= 7 && body[0] == 3 {
		return &packet.Signature{CreationTime: time.Unix(int64(binary.BigEndian.Uint32(body[3:])), 0)}, nil
	}
	understood, err := raw.Parse()
	if _, unknown := errors.AsType[pgperrors.UnsupportedError](err); unknown {
		return &packet.Signature{}, nil
	}
	signature, ok := understood.(*packet.Signature)
	if err != nil || !ok {
		return nil, errors.Join(errors.New("the package has a signature that cannot be read"), err)
	}
	return signature, nil
}

// rpmSignatures are the OpenPGP packets in the signature header, behind the lead (rpm's manual, "RPM v4 Package format").
func rpmSignatures(file io.ReaderAt) ([][]byte, error) {
	const lead, intro, entry = 96, 16, 16
	const most = 64 << 20 // rpm's own bound of this header
	var head [intro]byte
	if _, err := file.ReadAt(head[:], lead); err != nil {
		return nil, err
	}
	count, size := int64(binary.BigEndian.Uint32(head[8:])), int64(binary.BigEndian.Uint32(head[12:]))
	if !bytes.HasPrefix(head[:], []byte("\x8e\xad\xe8\x01")) || count*entry > most || size > most {
		return nil, errors.New("there is no header of them")
	}
	data, err := io.ReadAll(io.NewSectionReader(file, lead+intro, count*entry+size))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) < count*entry+size {
		return nil, io.ErrUnexpectedEOF
	}
	index, store := data[:count*entry], data[count*entry:]
	var found [][]byte
	for ; len(index) > 0; index = index[entry:] {
		field := func(i int) int64 { return int64(binary.BigEndian.Uint32(index[4*i:])) }
		tag, offset, length := field(0), field(2), field(3)
		switch tag {
		case 267, 268, 1002, 1005: // DSAHEADER, RSAHEADER, PGP, GPG: octets
			if offset > size || length > size-offset {
				return nil, io.ErrUnexpectedEOF
			}
			found = append(found, store[offset:offset+length])
		case 278: // OPENPGP, from rpm 6 on: texts in base64, each with a NUL behind
			if offset > size || length > size-offset {
				return nil, io.ErrUnexpectedEOF
			}
			texts := strings.SplitN(string(store[offset:]), "\x00", int(length)+1)
			for _, text := range texts[:min(len(texts), int(length))] {
				signature, err := base64.StdEncoding.DecodeString(text)
				if err != nil {
					return nil, err
				}
				found = append(found, signature)
			}
		}
	}
	return found, nil
}
