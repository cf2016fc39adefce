package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// signatureEndings mark files that are signatures themselves.
var signatureEndings = []string{".asc", ".sig", ".gpg", ".p7s", ".p7b", ".pem", ".pub"}

// Detect recognises a file by its content, and by its name where the content cannot tell.
// A signature, an index that is already signed inside, or an empty file is an error: signing
// it is never what was meant.
func Detect(path string) (Kind, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	name := filepath.Base(path)
	switch {
	case info.IsDir():
		return "", fmt.Errorf("%s is a folder; name the files in it", path)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", path)
	case info.Size() == 0:
		return "", fmt.Errorf("%s is empty", path)
	case name == "InRelease" || slices.Contains(signatureEndings, strings.ToLower(filepath.Ext(name))):
		return "", fmt.Errorf("%s is a signature, key or certificate itself; name the file that is signed", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	head := make([]byte, 4096)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	c := &candidate{
		content: file, head: head[:n], size: info.Size(), name: name, extension: strings.ToLower(filepath.Ext(name)),
	}
	for _, f := range formats {
		if f.match != nil && f.match(c) {
			return f.kind, nil
		}
	}
	return "", fmt.Errorf("%s is of no known format", path)
}

// candidate is a file whose format is looked for.
type candidate struct {
	content   io.ReaderAt
	head      []byte // its first 4096 octets, or all
	size      int64
	name      string // without folders
	extension string // of the name, in lower case, with its dot
}

func (c *candidate) hasMagic(magic string) bool { return bytes.HasPrefix(c.head, []byte(magic)) }

func (c *candidate) hasExtension(list ...string) bool { return slices.Contains(list, c.extension) }
