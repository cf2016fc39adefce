package artifact

import (
	"bytes"
	"encoding/xml"
)

var yumIndexFormat = format{
	kind: YumIndex, openPGP: true,
	beside: armorBeside,
	match:  func(c *candidate) bool { return c.name == "repomd.xml" && isYumIndex(c.head) },
	sign:   (*Signer).signDetached,
	verify: verification.verifyDetached,
}

func isYumIndex(head []byte) bool {
	decoder := xml.NewDecoder(bytes.NewReader(head))
	for {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		if start, ok := token.(xml.StartElement); ok {
			return start.Name.Local == "repomd"
		}
	}
}
