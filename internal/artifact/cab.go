package artifact

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// cabSignature reads the header of a cabinet ("Microsoft Cabinet Format", CFHEADER; Authenticode keeps the
// place of its signature in the reserved field): the signature begins where the cabinet ends, and
// ends the file.
func cabSignature(file io.ReaderAt, size int64) ([]byte, error) {
	const (
		partOfSet      = 1 | 2 // flags: another cabinet comes before this one, or behind it
		reservePresent = 4     // a flag
		reserveSize    = 20    // of Authenticode's field
	)
	header := make([]byte, 60)
	if _, err := file.ReadAt(header, 0); err != nil {
		return nil, fmt.Errorf("reading the cabinet's header: %w", err)
	}
	flags, reserved := binary.LittleEndian.Uint16(header[30:]), binary.LittleEndian.Uint16(header[36:])
	if flags&reservePresent == 0 || reserved != reserveSize {
		return nil, ErrUnsigned
	}
	// The digest leaves out the cabinet's number in a set, and these four octets of the field.
	if flags&partOfSet == 0 && !isZero(header[34:36]) || !isZero(header[52:56]) {
		return nil, errors.New("the cabinet has octets in its header that no signature covers")
	}
	cabinet := int64(binary.LittleEndian.Uint32(header[8:]))
	at, length := int64(binary.LittleEndian.Uint32(header[44:])), int64(binary.LittleEndian.Uint32(header[48:]))
	if length == 0 {
		return nil, ErrUnsigned
	}
	if at != cabinet || at+length != size {
		return nil, errors.New("the cabinet has octets beside its signature that none covers")
	}
	signature, err := readSignature(file, at, length)
	if err != nil {
		return nil, err
	}
	return withoutPadding(signature)
}
