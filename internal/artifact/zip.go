package artifact

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Signatures of zip's records (APPNOTE.TXT, sections 4.3.7, 4.3.9, 4.3.12 and 4.3.16).
const (
	zipLocalHeader   = 0x04034b50
	zipDescriptor    = 0x08074b50
	zipCentralHeader = 0x02014b50
	zipEnd           = 0x06054b50
)

// checkZip walks over an archive from its first octet: one local entry behind the other, each as the
// directory at the end lists it, then that directory, and nothing behind its end record. Readers that
// take an archive as a stream would otherwise find what those that begin at its end do not.
func checkZip(content io.ReaderAt, size int64, archive *zip.Reader) error {
	listed := map[int64]*zip.File{} // by where the content stands
	for _, file := range archive.File {
		offset, err := file.DataOffset()
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		if listed[offset] != nil {
			return errors.New("two entries of the archive have the same content")
		}
		listed[offset] = file
	}
	offset := int64(0)
	for range archive.File {
		header := make([]byte, 30)
		if _, err := content.ReadAt(header, offset); err != nil || binary.LittleEndian.Uint32(header) != zipLocalHeader {
			return errors.New("the archive has octets between its entries, or before them")
		}
		name := make([]byte, binary.LittleEndian.Uint16(header[26:]))
		if _, err := content.ReadAt(name, offset+30); err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		offset += 30 + int64(len(name)) + int64(binary.LittleEndian.Uint16(header[28:]))
		file := listed[offset]
		if file == nil || file.Name != string(name) || file.Method != binary.LittleEndian.Uint16(header[8:]) {
			return fmt.Errorf("the archive has the entry %s, which its directory does not list so", strconv.QuoteToASCII(string(name)))
		}
		delete(listed, offset)
		if file.CompressedSize64 > uint64(size-offset) {
			return errors.New("an entry is longer than the archive")
		}
		offset += int64(file.CompressedSize64)
		if binary.LittleEndian.Uint16(header[6:])&8 != 0 {
			offset += descriptorSize(content, offset, file)
		}
	}
	next := make([]byte, 4)
	if _, err := content.ReadAt(next, offset); err != nil ||
		binary.LittleEndian.Uint32(next) != zipCentralHeader && binary.LittleEndian.Uint32(next) != zipEnd {
		return errors.New("the archive has octets between its entries and its directory")
	}
	end := make([]byte, 22)
	if _, err := content.ReadAt(end, size-22); err != nil || binary.LittleEndian.Uint32(end) != zipEnd || end[20] != 0 || end[21] != 0 {
		return errors.New("the archive has a comment, or octets behind its end")
	}
	return nil
}

// descriptorSize is that of the data descriptor behind an entry's content: with a signature or
// without, and with sizes of four octets or of eight (APPNOTE.TXT, section 4.3.9).
func descriptorSize(content io.ReaderAt, offset int64, file *zip.File) int64 {
	data := make([]byte, 24)
	_, _ = content.ReadAt(data, offset) // at the end of the archive there may be fewer; what is missing fits nothing
	size := int64(0)
	if binary.LittleEndian.Uint32(data) == zipDescriptor {
		data, size = data[4:], 4
	}
	if binary.LittleEndian.Uint32(data[4:]) == uint32(file.CompressedSize64) && binary.LittleEndian.Uint32(data[8:]) == uint32(file.UncompressedSize64) {
		return size + 12
	}
	return size + 20
}
