package artifact

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
)

// msiSignature reads an installer, which is a compound file ([MS-CFB]), as far as its streams go: each of
// its sectors belongs to exactly one of them or to the file's own tables, and whatever belongs to
// nothing is zeros. Authenticode's digest covers what the streams say alone, so that anything could
// stand beside them; some readers begin at a file's end. The rest of a stream's last sector stays
// unread: Windows leaves there what its memory held.
func msiSignature(file io.ReaderAt, size int64) ([]byte, error) {
	c, err := openCompound(file, size)
	if err != nil {
		return nil, err
	}
	if err := c.readTable(); err != nil {
		return nil, err
	}
	if err := c.readDirectory(); err != nil {
		return nil, err
	}
	if err := c.checkRest(); err != nil {
		return nil, err
	}
	if c.signature == nil {
		return nil, ErrUnsigned
	}
	return withoutPadding(c.signature)
}

// Entries of an allocation table ([MS-CFB], section 2.1).
const (
	cfbFree      = 0xffffffff
	cfbEnd       = 0xfffffffe // of a chain
	cfbMaxSector = 0xfffffffa // the largest number of a sector
)

const (
	cfbMiniSector = 64
	cfbMiniCutoff = 4096 // shorter streams are in mini sectors
	cfbEntry      = 128  // octets of the directory for each stream
	cfbNone       = 0xffffffff

	cfbSignature = "\x05DigitalSignature" // the stream of an installer with its signature
)

var (
	errMSIHeader    = errors.New("the installer's header is damaged")
	errMSITable     = errors.New("the installer's allocation table is damaged")
	errMSIDirectory = errors.New("the installer's directory is damaged")
	errMSIUnused    = errors.New("the installer has octets in a sector of no stream, which no signature covers")
)

// compound is a compound file while its sectors are being counted. It holds its tables and nothing
// else, and looks at each of their entries once.
type compound struct {
	file    io.ReaderAt
	header  []byte
	sector  int64
	sectors allocation
	mini    allocation // within the stream of the root, of which it is a part
	stream  []uint32   // sectors of the root's stream

	signature []byte // of the stream that has it; nil: there is none
}

// allocation is a table of sectors, each of which names the next one of its stream.
type allocation struct {
	next  []uint32
	used  []bool // one for each sector that there is
	fault error
}

// claim marks a sector as used; no other may have it.
func (a *allocation) claim(number uint32) error {
	if int64(number) >= int64(len(a.used)) || a.used[number] {
		return a.fault
	}
	a.used[number] = true
	return nil
}

// chain claims the sectors that follow first, and wants as many as the length needs; -1: as many as there are.
func (a *allocation) chain(first uint32, length int64) ([]uint32, error) {
	var chain []uint32
	for number := first; number != cfbEnd; number = a.next[number] {
		if err := a.claim(number); err != nil {
			return nil, err
		}
		if int64(number) >= int64(len(a.next)) {
			return nil, a.fault
		}
		chain = append(chain, number)
	}
	if length >= 0 && int64(len(chain)) != length {
		return nil, errors.New("the installer has a stream with more or fewer sectors than its length needs")
	}
	return chain, nil
}

// restIsFree: entries for sectors that the file does not have say nothing. osslsigncode ends chains
// there that have no sector.
func (a *allocation) restIsFree() bool {
	for _, entry := range a.next[min(len(a.used), len(a.next)):] {
		if entry != cfbFree && entry != cfbEnd {
			return false
		}
	}
	return true
}

// openCompound reads the header ([MS-CFB], section 2.2).
func openCompound(file io.ReaderAt, size int64) (*compound, error) {
	header := make([]byte, 512)
	if _, err := file.ReadAt(header, 0); err != nil {
		return nil, fmt.Errorf("reading the installer's header: %w", err)
	}
	c := &compound{file: file, header: header}
	switch version, shift := binary.LittleEndian.Uint16(header[0x1a:]), binary.LittleEndian.Uint16(header[0x1e:]); {
	case version == 3 && shift == 9, version == 4 && shift == 12:
		c.sector = int64(1) << shift
	default:
		return nil, errMSIHeader
	}
	if binary.LittleEndian.Uint16(header[0x20:]) != 6 || c.word(0x38) != cfbMiniCutoff ||
		!isZero(header[0x08:0x18]) || !isZero(header[0x22:0x28]) {
		return nil, errMSIHeader
	}
	if size%c.sector != 0 || size < 2*c.sector {
		return nil, errors.New("the installer has octets behind its last sector that no signature covers")
	}
	if rest, err := c.read(512, c.sector-512); err != nil || !isZero(rest) { // the header takes the room of a sector
		return nil, errors.Join(err, errMSIHeader)
	}
	if size/c.sector-1 > cfbMaxSector {
		return nil, errMSIHeader
	}
	c.sectors = allocation{used: make([]bool, size/c.sector-1), fault: errMSITable}
	return c, nil
}

func (c *compound) word(at int) uint32 { return binary.LittleEndian.Uint32(c.header[at:]) }

func (c *compound) read(at, length int64) ([]byte, error) {
	data := make([]byte, length)
	if _, err := c.file.ReadAt(data, at); err != nil {
		return nil, fmt.Errorf("reading the installer: %w", err)
	}
	return data, nil
}

// at is where a sector begins: the header takes the room of one.
func (c *compound) at(number uint32) int64 { return (int64(number) + 1) * c.sector }

// words reads the sector of a table.
func (c *compound) words(number uint32) ([]uint32, error) {
	data, err := c.read(c.at(number), c.sector)
	if err != nil {
		return nil, err
	}
	words := make([]uint32, c.sector/4)
	_, err = binary.Decode(data, binary.LittleEndian, words)
	return words, err
}

// readTable reads the allocation table: the header names the first 109 of its sectors, a chain of
// sectors the others ([MS-CFB], sections 2.3 and 2.5).
func (c *compound) readTable() error {
	parts := make([]uint32, 109)
	if _, err := binary.Decode(c.header[0x4c:], binary.LittleEndian, parts); err != nil {
		return err
	}
	next := c.word(0x44)
	for next != cfbEnd && next != cfbFree {
		if err := c.sectors.claim(next); err != nil {
			return err
		}
		words, err := c.words(next)
		if err != nil {
			return err
		}
		parts, next = append(parts, words[:len(words)-1]...), words[len(words)-1]
	}
	count := c.word(0x2c)
	for i, part := range parts {
		if i >= int(count) {
			if part != cfbFree {
				return errMSITable
			}
			continue
		}
		if err := c.sectors.claim(part); err != nil {
			return err
		}
		if len(c.sectors.next) >= len(c.sectors.used)+int(c.sector)/4 { // each sector has one entry
			return errMSITable
		}
		words, err := c.words(part)
		if err != nil {
			return err
		}
		c.sectors.next = append(c.sectors.next, words...)
	}
	if int64(count) > int64(len(parts)) || !c.sectors.restIsFree() {
		return errMSITable
	}
	return nil
}

// directoryEntry is a part of an entry of the directory ([MS-CFB], section 2.6.1).
type directoryEntry struct {
	name               string
	kind               byte
	left, right, child uint32
	first              uint32
	size               int64
}

const (
	cfbStorage = 1
	cfbStream  = 2
	cfbRoot    = 5
)

// readDirectory goes through the streams that the tree of the directory leads to from its root.
func (c *compound) readDirectory() error {
	chain, err := c.sectors.chain(c.word(0x30), -1)
	if err != nil {
		return err
	}
	perSector := c.sector / cfbEntry
	reached := make([]bool, int64(len(chain))*perSector)
	octets := func(number uint32) ([]byte, error) {
		return c.read(c.at(chain[int64(number)/perSector])+int64(number)%perSector*cfbEntry, cfbEntry)
	}
	for waiting := []uint32{0}; len(waiting) > 0; {
		number := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		if int64(number) >= int64(len(reached)) || reached[number] {
			return errMSIDirectory
		}
		reached[number] = true
		data, err := octets(number)
		if err != nil {
			return err
		}
		entry, err := c.entry(data)
		if err != nil {
			return err
		}
		if (number == 0) != (entry.kind == cfbRoot) {
			return errMSIDirectory
		}
		if err := c.streamOf(entry); err != nil {
			return err
		}
		for _, other := range []uint32{entry.left, entry.right, entry.child} {
			if other != cfbNone {
				waiting = append(waiting, other)
			}
		}
	}
	for number, was := range reached {
		if was {
			continue
		}
		data, err := octets(uint32(number))
		if err != nil {
			return err
		}
		if !isFreeEntry(data) {
			return errors.New("the installer has an entry in its directory that nothing leads to")
		}
	}
	return nil
}

// entry reads an entry of the directory.
func (c *compound) entry(data []byte) (directoryEntry, error) {
	length := int(binary.LittleEndian.Uint16(data[64:]))
	if length > 64 || length < 2 || length%2 != 0 || !isZero(data[length-2:64]) {
		return directoryEntry{}, errMSIDirectory
	}
	units := make([]uint16, length/2-1)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(data[2*i:])
	}
	entry := directoryEntry{
		name: string(utf16.Decode(units)), kind: data[66],
		left: binary.LittleEndian.Uint32(data[68:]), right: binary.LittleEndian.Uint32(data[72:]), child: binary.LittleEndian.Uint32(data[76:]),
		first: binary.LittleEndian.Uint32(data[116:]), size: int64(binary.LittleEndian.Uint32(data[120:])),
	}
	if c.sector > 512 { // with small ones the upper half says nothing
		entry.size |= int64(binary.LittleEndian.Uint32(data[124:])) << 32
	}
	if entry.size < 0 || entry.size > int64(len(c.sectors.used))*c.sector {
		return directoryEntry{}, errMSIDirectory
	}
	return entry, nil
}

// isFreeEntry: no name, no kind and no stream; its neighbours are none.
func isFreeEntry(data []byte) bool {
	return isZero(data[:68]) && isZero(data[80:]) &&
		(isZero(data[68:80]) || len(bytes.Trim(data[68:80], "\xff")) == 0)
}

// streamOf claims the sectors of an entry's stream.
func (c *compound) streamOf(entry directoryEntry) error {
	switch {
	case entry.kind == cfbStorage:
		return nil
	case entry.kind == cfbRoot:
		return c.readMini(entry)
	case entry.kind != cfbStream || entry.child != cfbNone:
		return errMSIDirectory
	case entry.size == 0:
		return nil
	}
	table, unit, at := &c.sectors, c.sector, c.at
	if entry.size < cfbMiniCutoff {
		table, unit, at = &c.mini, cfbMiniSector, c.miniAt
	}
	chain, err := table.chain(entry.first, unitsOf(entry.size, unit))
	if err != nil || entry.name != cfbSignature {
		return err
	}
	if c.signature != nil || entry.size > mostSignature {
		return errors.New("the installer has several signatures, or a very large one")
	}
	for _, number := range chain {
		part, err := c.read(at(number), unit)
		if err != nil {
			return err
		}
		c.signature = append(c.signature, part...)
	}
	c.signature = c.signature[:entry.size]
	return nil
}

// miniAt is where a mini sector begins.
func (c *compound) miniAt(number uint32) int64 {
	at := int64(number) * cfbMiniSector
	return c.at(c.stream[at/c.sector]) + at%c.sector
}

// readMini reads the allocation table of mini sectors, which are the root's stream ([MS-CFB], section 2.4).
func (c *compound) readMini(root directoryEntry) error {
	var err error
	if root.size > 0 {
		if c.stream, err = c.sectors.chain(root.first, unitsOf(root.size, c.sector)); err != nil {
			return err
		}
	}
	// One that is cut off at the end has room behind it: sectors are larger.
	c.mini = allocation{used: make([]bool, unitsOf(root.size, cfbMiniSector)), fault: errMSITable}
	parts, err := c.sectors.chain(c.word(0x3c), int64(c.word(0x40)))
	if err != nil {
		return err
	}
	for _, part := range parts {
		if len(c.mini.next) >= len(c.mini.used)+int(c.sector)/4 {
			return errMSITable
		}
		words, err := c.words(part)
		if err != nil {
			return err
		}
		c.mini.next = append(c.mini.next, words...)
	}
	if !c.mini.restIsFree() {
		return errMSITable
	}
	return nil
}

// checkRest wants nothing in sectors that belong to nothing, nor in their entries of the tables.
func (c *compound) checkRest() error {
	for _, part := range []struct {
		table *allocation
		unit  int64
		at    func(uint32) int64
	}{{&c.sectors, c.sector, c.at}, {&c.mini, cfbMiniSector, c.miniAt}} {
		for number, used := range part.table.used {
			if used {
				continue
			}
			content, err := c.read(part.at(uint32(number)), part.unit)
			if err != nil {
				return err
			}
			if !isZero(content) || number < len(part.table.next) && part.table.next[number] != cfbFree {
				return errMSIUnused
			}
		}
	}
	return nil
}

// unitsOf is how many sectors a stream needs.
func unitsOf(size, unit int64) int64 { return size/unit + min(1, size%unit) }

func isZero(data []byte) bool { return len(bytes.Trim(data, "\x00")) == 0 }
