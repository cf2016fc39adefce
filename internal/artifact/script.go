package artifact

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf16"
)

// scriptBlock is all that may stand from the first marker on: lines of base64 in comments, and the
// end of the file. What stands in or behind the block no digest covers.
var scriptBlock = regexp.MustCompile(`^(?:# SIG # Begin signature block\r\n(?:# [A-Za-z0-9+/=]+\r\n)+# SIG # End signature block` +
	`|<!-- SIG # Begin signature block -->\r\n(?:<!-- [A-Za-z0-9+/=]+ -->\r\n)+<!-- SIG # End signature block -->` +
	`|/\* SIG # Begin signature block \*/\r\n(?:/\* [A-Za-z0-9+/=]+ \*/\r\n)+/\* SIG # End signature block \*/` +
	`|// SIG // Begin signature block\r\n(?:// SIG // [A-Za-z0-9+/=]+\r\n)+// SIG // End signature block)(?:\r\n)?$`)

// scriptLine is one between the block's first and last.
var scriptLine = regexp.MustCompile(`(?m)^(?:#|<!--|/\*|// SIG //) ([A-Za-z0-9+/=]+)(?: -->| \*/)?\r$`)

// scriptMarker begins the block, in a comment of whatever language.
var scriptMarker = regexp.MustCompile(`SIG (?:#|//) Begin signature block`)

// scriptSignature reads a signed script, which has one signature block, at its end.
func scriptSignature(file io.ReaderAt, size int64) ([]byte, error) {
	data, err := readWhole(file, size)
	if err != nil {
		return nil, err
	}
	text := string(data)
	if strings.HasPrefix(text, "\xff\xfe") {
		if len(data)%2 == 1 {
			return nil, errors.New("the script ends in half a character that no signature covers")
		}
		units := make([]uint16, (len(data)-2)/2)
		for i := range units {
			units[i] = binary.LittleEndian.Uint16(data[2+2*i:])
		}
		text = string(utf16.Decode(units))
	}
	marker := scriptMarker.FindStringIndex(text)
	if marker == nil {
		return nil, ErrUnsigned
	}
	at := strings.LastIndex(text[:marker[0]], "\n") + 1 // the marker's line
	// The digest ends before the line end in front of the block, whatever that is.
	if !scriptBlock.MatchString(text[at:]) || at > 0 && !strings.HasSuffix(text[:at], "\r\n") {
		return nil, errors.New("the script has something in or behind its signature block that no signature covers")
	}
	var encoded strings.Builder
	for _, line := range scriptLine.FindAllStringSubmatch(text[at:], -1) {
		encoded.WriteString(line[1])
	}
	signature, err := base64.StdEncoding.DecodeString(encoded.String())
	if err != nil {
		return nil, fmt.Errorf("reading the script's signature: %w", err)
	}
	return signature, nil
}
