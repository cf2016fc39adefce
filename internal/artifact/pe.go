package artifact

import (
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// peSignatures reads the attribute certificate table of a PE file (PE format, "The Attribute Certificate
// Table"): each entry holds one CMS structure and padding, and the table ends the file. Authenticode's
// digest leaves the table out, whatever else it holds.
func peSignatures(file io.ReaderAt, fileSize int64) ([][]byte, error) {
	offset, size, err := certificateTable(file)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return nil, ErrUnsigned
	}
	if offset+size != fileSize {
		return nil, errors.New("the program has octets behind its signatures that none covers")
	}
	table, err := readSignature(file, offset, size)
	if err != nil {
		return nil, err
	}
	var signatures [][]byte
	for len(table) > 0 {
		if len(table) < 8 {
			return nil, errors.New("the table of signatures is damaged")
		}
		length := int(binary.LittleEndian.Uint32(table))
		padded := (length + 7) &^ 7
		if length < 8 || padded > len(table) {
			return nil, errors.New("the table of signatures is damaged")
		}
		signature, err := withoutPadding(table[8:padded])
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
		table = table[padded:]
	}
	return signatures, nil
}

// withoutPadding takes one DER structure and up to seven zeros behind it, with which signatures are aligned.
func withoutPadding(data []byte) ([]byte, error) {
	var signature asn1.RawValue
	rest, err := asn1.Unmarshal(data, &signature)
	if err != nil {
		return nil, fmt.Errorf("reading a signature: %w", err)
	}
	if len(rest) > 7 || !isZero(rest) {
		return nil, errors.New("there are octets beside the signature that none covers")
	}
	return signature.FullBytes, nil
}

// certificateTable is where the optional header says that the table stands; the size is 0 where
// there is none.
func certificateTable(file io.ReaderAt) (offset, size int64, err error) {
	field := make([]byte, 8)
	read := func(at int64, n int) uint32 {
		clear(field)
		if _, failed := file.ReadAt(field[:n], at); failed != nil {
			err = fmt.Errorf("reading the program's headers: %w", failed)
		}
		return binary.LittleEndian.Uint32(field)
	}
	optional := int64(read(0x3c, 4)) + 24 // behind the signature and the COFF header
	directories := optional + 96
	if read(optional, 2) == 0x20b { // PE32+
		directories += 16
	}
	if count := read(directories-4, 4); count <= 4 {
		return 0, 0, err
	}
	return int64(read(directories+4*8, 4)), int64(read(directories+4*8+4, 4)), err
}
