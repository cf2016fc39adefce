package artifact

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

var yumIndexFormat = format{
	kind: YumIndex, openPGP: true,
	facts: Facts{
		Files: "repomd.xml of a yum or dnf repository", Tool: "gpg", Judge: "gpgv",
		Versions: "GnuPG 2.2 or later",
		Keys:     "RSA; ECDSA if the clients' rpm accepts it",
		Several:  "refused unless --existing allows it",
		Limits:   "the files it lists must be present and match",
	},
	beside: armorBeside,
	match:  func(c *candidate) bool { return c.name == "repomd.xml" && isYumIndex(c.head) },
	sign: func(s *Signer, ctx context.Context, file, dir string) ([]Output, error) {
		if err := checkYumIndex(ctx, file); err != nil { // before a signature is asked for
			return nil, err
		}
		return s.signDetached(ctx, file, dir)
	},
	signers: verification.detachedSigners,
	verify: func(v verification, ctx context.Context, file, dir string) error {
		if err := v.verifyDetached(ctx, file, dir); err != nil {
			return err
		}
		return checkYumIndex(ctx, file)
	},
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

// repomd is what is read of a repomd.xml (createrepo_c, repomd.xml).
type repomd struct {
	Data []struct {
		Checksum struct {
			Type string `xml:"type,attr"`
			Sum  string `xml:",chardata"`
		} `xml:"checksum"`
		Location struct {
			Href string `xml:"href,attr"`
		} `xml:"location"`
	} `xml:"data"`
}

// checkYumIndex checks that every file of the list is there, with its digest.
func checkYumIndex(ctx context.Context, path string) error {
	data, err := readIndex(path)
	if err != nil {
		return err
	}
	var index repomd
	if err := xml.Unmarshal(data, &index); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if len(index.Data) == 0 {
		return &StaleError{"repomd.xml lists no file"}
	}
	// Locations are relative to the folder that holds repodata/.
	root, err := os.OpenRoot(filepath.Dir(filepath.Dir(path)))
	if err != nil {
		return err
	}
	defer root.Close()
	for _, entry := range index.Data {
		if err := checkListed(ctx, root, entry.Location.Href, entry.Checksum.Type, strings.TrimSpace(entry.Checksum.Sum)); err != nil {
			return err
		}
	}
	return nil
}
