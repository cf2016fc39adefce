package artifact

import (
	"archive/zip"
	"bufio"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// Records of a zip archive begin with these (APPNOTE.TXT, sections 4.3.7, 4.3.9, 4.3.14 to 4.3.16).
const (
	zipLocalHeader  = 0x04034b50
	zipDescriptor   = 0x08074b50
	zipEnd          = 0x06054b50
	zip64End        = 0x06064b50
	zip64EndLocator = 0x07064b50
)

// zipHasDescriptor is the flag of an entry whose sizes stand behind its content.
const zipHasDescriptor = 8

// checkZip walks over an archive from its first octet: one local entry behind the other, each as the
// directory lists it, then that directory, then its end record, and nothing else. Readers that take an
// archive as a stream, by its directory's offset, or by where the directory ends find the same then.
func checkZip(content io.ReaderAt, size int64, archive *zip.Reader) error {
	listed := map[int64]*zip.File{} // by where the content stands
	directory := int64(0)           // its size
	for _, file := range archive.File {
		offset, err := file.DataOffset()
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		if listed[offset] != nil {
			return errors.New("two entries of the archive have the same content")
		}
		listed[offset] = file
		directory += int64(46 + len(file.Name) + len(file.Extra) + len(file.Comment))
	}
	offset := int64(0)
	for range archive.File {
		local, err := readLocalEntry(content, offset)
		if err != nil {
			return err
		}
		file := listed[local.content]
		if file == nil || !local.isAs(file) {
			return fmt.Errorf("the archive has the entry %s, which its directory does not list so", strconv.QuoteToASCII(local.name))
		}
		delete(listed, local.content)
		if file.CompressedSize64 > uint64(size-local.content) {
			return errors.New("an entry is longer than the archive")
		}
		if err := checkZipContent(content, local.content, file); err != nil {
			return fmt.Errorf("the entry %s: %w", strconv.QuoteToASCII(local.name), err)
		}
		offset = local.content + int64(file.CompressedSize64)
		if file.Flags&zipHasDescriptor != 0 {
			length := descriptorSize(content, offset, file)
			if length == 0 {
				return fmt.Errorf("the entry %s: what stands behind it is not its length", strconv.QuoteToASCII(local.name))
			}
			offset += length
		}
	}
	if strings.Contains(archive.Comment, "PK") { // Bouncy Castle's jars have one that does not
		return errors.New("the archive's comment could be taken for another end of it")
	}
	end := size - 22 - int64(len(archive.Comment))
	return checkZipEnd(content, end, len(archive.Comment), zipNumbers{uint64(len(archive.File)), uint64(directory), uint64(offset)})
}

// localEntry is what stands before an entry's content.
type localEntry struct {
	name               string
	flags, method      uint16
	crc                uint32
	packed, unpacked   uint64
	content            int64 // where it begins
	unknownSizesBehind bool  // the sizes are left to the descriptor
}

func readLocalEntry(archive io.ReaderAt, offset int64) (*localEntry, error) {
	header := make([]byte, 30)
	if _, err := archive.ReadAt(header, offset); err != nil || binary.LittleEndian.Uint32(header) != zipLocalHeader {
		return nil, errors.New("the archive has octets between its entries, or before them")
	}
	name := make([]byte, binary.LittleEndian.Uint16(header[26:]))
	extra := make([]byte, binary.LittleEndian.Uint16(header[28:]))
	for _, part := range []struct {
		to []byte
		at int64
	}{{name, offset + 30}, {extra, offset + 30 + int64(len(name))}} {
		if _, err := archive.ReadAt(part.to, part.at); err != nil {
			return nil, fmt.Errorf("reading the archive: %w", err)
		}
	}
	l := &localEntry{
		name: string(name), flags: binary.LittleEndian.Uint16(header[6:]), method: binary.LittleEndian.Uint16(header[8:]),
		crc: binary.LittleEndian.Uint32(header[14:]), packed: uint64(binary.LittleEndian.Uint32(header[18:])),
		unpacked: uint64(binary.LittleEndian.Uint32(header[22:])), content: offset + 30 + int64(len(name)+len(extra)),
	}
	if l.packed == 1<<32-1 || l.unpacked == 1<<32-1 {
		l.readZip64(extra)
	}
	l.unknownSizesBehind = l.flags&zipHasDescriptor != 0 && l.crc == 0 && l.packed == 0 && l.unpacked == 0
	return l, nil
}

// readZip64 takes sizes that do not fit the header from the extra field with the id 1 (section 4.5.3).
func (l *localEntry) readZip64(extra []byte) {
	for len(extra) >= 4 {
		id, length := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if extra = extra[4:]; length > len(extra) {
			return
		}
		if id == 1 && length >= 16 {
			l.unpacked, l.packed = binary.LittleEndian.Uint64(extra), binary.LittleEndian.Uint64(extra[8:])
			return
		}
		extra = extra[length:]
	}
}

func (l *localEntry) isAs(file *zip.File) bool {
	return l.name == file.Name && l.flags == file.Flags && l.method == file.Method &&
		(l.unknownSizesBehind || l.crc == file.CRC32 && l.packed == file.CompressedSize64 && l.unpacked == file.UncompressedSize64)
}

// checkZipContent checks that the content is as long as the directory says. A reader of a stream takes
// what stands behind the end of the compressed data for the next entry.
func checkZipContent(archive io.ReaderAt, offset int64, file *zip.File) error {
	packed := io.NewSectionReader(archive, offset, int64(file.CompressedSize64))
	switch {
	case file.Method == zip.Store && file.Flags&zipHasDescriptor == 0:
		if file.CompressedSize64 != file.UncompressedSize64 {
			return errors.New("it is stored, and has two lengths")
		}
		return nil
	case file.Method != zip.Deflate:
		return errors.New("it is neither deflated nor stored with its length before it")
	}
	counted := &countingReader{bufio.NewReaderSize(packed, 64<<10), 0}
	sum := crc32.NewIEEE()
	n, err := io.Copy(sum, io.LimitReader(flate.NewReader(counted), int64(file.UncompressedSize64)+1))
	if err != nil {
		return err
	}
	if uint64(n) != file.UncompressedSize64 || counted.n != int64(file.CompressedSize64) || sum.Sum32() != file.CRC32 {
		return errors.New("it is not as long as the directory says, or has another content")
	}
	return nil
}

// countingReader counts what is read. Having ReadByte, it is read no further than the compressed data go.
type countingReader struct {
	*bufio.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// descriptorSize is that of the data descriptor behind an entry's content: with a signature or
// without, and with sizes of four octets or of eight (section 4.3.9). It is 0 where none fits.
func descriptorSize(archive io.ReaderAt, offset int64, file *zip.File) int64 {
	data := make([]byte, 24)
	n, _ := archive.ReadAt(data, offset) // at the end of the archive there may be fewer
	data = data[:n]
	for _, signature := range [][]byte{binary.LittleEndian.AppendUint32(nil, zipDescriptor), nil} {
		want := binary.LittleEndian.AppendUint32(signature, file.CRC32)
		short := binary.LittleEndian.AppendUint32(want[:len(want):len(want)], uint32(file.CompressedSize64))
		short = binary.LittleEndian.AppendUint32(short, uint32(file.UncompressedSize64))
		long := binary.LittleEndian.AppendUint64(want[:len(want):len(want)], file.CompressedSize64)
		long = binary.LittleEndian.AppendUint64(long, file.UncompressedSize64)
		for _, form := range [][]byte{long, short} {
			if len(form) <= len(data) && string(form) == string(data[:len(form)]) {
				return int64(len(form))
			}
		}
	}
	return 0
}

// checkZipEnd checks that the directory ends where its end record begins, and that this, which nothing but a
// comment follows, says of the directory what is wanted; where it has no room for the numbers, those of
// zip64 stand between (sections 4.3.14 to 4.3.16).
func checkZipEnd(archive io.ReaderAt, at int64, comment int, want zipNumbers) error {
	wrong := errors.New("the archive's directory is not where, or not as long as, its end record says")
	end := make([]byte, 22)
	if _, err := archive.ReadAt(end, at); err != nil || binary.LittleEndian.Uint32(end) != zipEnd || int(binary.LittleEndian.Uint16(end[20:])) != comment {
		return errors.New("the archive has octets behind its end")
	}
	numbers := zipNumbers{
		uint64(binary.LittleEndian.Uint16(end[10:])), uint64(binary.LittleEndian.Uint32(end[12:])), uint64(binary.LittleEndian.Uint32(end[16:])),
	}
	locator := make([]byte, 20)
	if _, err := archive.ReadAt(locator, at-20); err == nil && binary.LittleEndian.Uint32(locator) == zip64EndLocator {
		at -= 20 + 56
		record := make([]byte, 56)
		if _, err := archive.ReadAt(record, at); err != nil || binary.LittleEndian.Uint32(record) != zip64End ||
			binary.LittleEndian.Uint64(record[4:]) != 44 || binary.LittleEndian.Uint64(locator[8:]) != uint64(at) {
			return wrong
		}
		large := zipNumbers{binary.LittleEndian.Uint64(record[32:]), binary.LittleEndian.Uint64(record[40:]), binary.LittleEndian.Uint64(record[48:])}
		numbers = numbers.or(large)
		if numbers != large {
			return wrong
		}
	}
	if numbers != want || want.offset+want.size != uint64(at) || [4]byte(end[4:8]) != [4]byte{} || [2]byte(end[8:10]) != [2]byte(end[10:12]) {
		return wrong
	}
	return nil
}

// zipNumbers are what an end record says of the directory.
type zipNumbers struct{ entries, size, offset uint64 }

// or takes those of zip64 where there is no room.
func (z zipNumbers) or(large zipNumbers) zipNumbers {
	if z.entries == 1<<16-1 {
		z.entries = large.entries
	}
	if z.size == 1<<32-1 {
		z.size = large.size
	}
	if z.offset == 1<<32-1 {
		z.offset = large.offset
	}
	return z
}
