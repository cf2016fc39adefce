package artifact

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
)

// rpmSignatureTags are those of the signature header that hold signatures (rpm, "Signatures and digests"): DSA, RSA and OpenPGP of
// the header, and PGP, PGP5 and GPG of header and payload.
var rpmSignatureTags = map[uint32]bool{267: true, 268: true, 278: true, 1002: true, 1003: true, 1005: true}

// rpmIsUnsigned reports that a package certainly has no signature: its signature header is as it should be, and has no tag
// for one. Where it is anything else, rpmkeys is asked. So a new package costs no start of it.
func rpmIsUnsigned(path string) bool {
	const lead, preamble, entry, most = 96, 16, 16, 1 << 10
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	head := make([]byte, lead+preamble)
	if _, err := io.ReadFull(file, head); err != nil || !bytes.HasPrefix(head[lead:], []byte("\x8e\xad\xe8\x01\x00\x00\x00\x00")) {
		return false
	}
	count := binary.BigEndian.Uint32(head[lead+8:])
	if count == 0 || count > most {
		return false
	}
	index := make([]byte, count*entry)
	if _, err := io.ReadFull(file, index); err != nil {
		return false
	}
	for ; len(index) > 0; index = index[entry:] {
		if rpmSignatureTags[binary.BigEndian.Uint32(index)] {
			return false
		}
	}
	return true
}
