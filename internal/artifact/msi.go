package artifact

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Entries of a compound file's allocation table ([MS-CFB], section 2.1).
const (
	cfbFree      = 0xffffffff
	cfbMaxSector = 0xfffffffa // the largest number of a sector
)

// checkMSI reads the allocation table of a compound file ([MS-CFB], sections 2.2 to 2.5): the file is
// whole sectors, and those that belong to nothing are empty. Authenticode's digest covers streams alone,
// so that anything could stand behind them; some readers begin at a file's end.
func checkMSI(file io.ReaderAt, size int64) error {
	header := make([]byte, 512)
	if _, err := file.ReadAt(header, 0); err != nil {
		return fmt.Errorf("reading the installer's header: %w", err)
	}
	shift := binary.LittleEndian.Uint16(header[0x1e:])
	if shift != 9 && shift != 12 {
		return errors.New("the installer's header is damaged")
	}
	sector := int64(1) << shift
	if size%sector != 0 || size < 2*sector {
		return errors.New("the installer has octets behind its last sector that no signature covers")
	}
	sectors := uint32(size/sector - 1) // the header takes the room of one
	table, err := allocationTable(file, header, sector, sectors)
	if err != nil {
		return err
	}
	content := make([]byte, sector)
	for number := range sectors {
		if int(number) < len(table) && table[number] != cfbFree {
			continue
		}
		if _, err := file.ReadAt(content, (int64(number)+1)*sector); err != nil {
			return fmt.Errorf("reading the installer: %w", err)
		}
		if len(bytes.Trim(content, "\x00")) > 0 {
			return errors.New("the installer has octets in a sector of no stream, which no signature covers")
		}
	}
	return nil
}

// allocationTable reads the entries of all sectors: the header names the first 109 sectors of the
// table, a chain of sectors the others.
func allocationTable(file io.ReaderAt, header []byte, sector int64, sectors uint32) ([]uint32, error) {
	damaged := errors.New("the installer's allocation table is damaged")
	read := func(number uint32) ([]uint32, error) {
		if number >= sectors {
			return nil, damaged
		}
		data, words := make([]byte, sector), make([]uint32, sector/4)
		if _, err := file.ReadAt(data, (int64(number)+1)*sector); err != nil {
			return nil, fmt.Errorf("reading the installer's allocation table: %w", err)
		}
		_, err := binary.Decode(data, binary.LittleEndian, words)
		return words, err
	}
	parts := make([]uint32, 109)
	if _, err := binary.Decode(header[0x4c:], binary.LittleEndian, parts); err != nil {
		return nil, err
	}
	next := binary.LittleEndian.Uint32(header[0x44:])
	for seen := uint32(0); next <= cfbMaxSector; seen++ {
		words, err := read(next)
		if err != nil || int64(seen) > int64(sectors)*4/sector {
			return nil, errors.Join(err, damaged)
		}
		parts, next = append(parts, words[:len(words)-1]...), words[len(words)-1]
	}
	var table []uint32
	for _, part := range parts {
		if part == cfbFree {
			continue
		}
		if len(table) > int(sectors)+int(sector)/4 { // each sector has one entry
			return nil, damaged
		}
		words, err := read(part)
		if err != nil {
			return nil, err
		}
		table = append(table, words...)
	}
	return table, nil
}
