package artifact

import (
	"encoding/binary"
	"errors"
	"os"
	"regexp"
	"strings"
	"unicode/utf16"
)

// scriptBlock is all that may stand from the first marker on: lines of base64 in comments, and the
// end of the file. What stands in or behind the block no digest covers.
var scriptBlock = regexp.MustCompile(`^(?:# SIG # Begin signature block\r\n(?:# [A-Za-z0-9+/=]+\r\n)+# SIG # End signature block` +
	`|<!-- SIG # Begin signature block -->\r\n(?:<!-- [A-Za-z0-9+/=]+ -->\r\n)+<!-- SIG # End signature block -->)(?:\r\n)?$`)

// checkScript reads the structure of a signed PowerShell file: one signature block, at its end.
func checkScript(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(data)
	if strings.HasPrefix(text, "\xff\xfe") {
		units := make([]uint16, (len(data)-2)/2)
		for i := range units {
			units[i] = binary.LittleEndian.Uint16(data[2+2*i:])
		}
		text = string(utf16.Decode(units))
	}
	const marker = "SIG # Begin signature block"
	at := strings.Index(text, marker)
	if at < 0 {
		return ErrUnsigned
	}
	at = strings.LastIndex(text[:at], "\n") + 1 // the marker's line
	if !scriptBlock.MatchString(text[at:]) {
		return errors.New("the script has something in or behind its signature block that no signature covers")
	}
	return nil
}
