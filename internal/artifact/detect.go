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

// LeftOutError is the error for a file that nobody means to sign: a folder, an empty file, a
// signature, a key or certificate, an index that another one covers.
type LeftOutError struct {
	File, Reason string
	Expected     bool // nobody wonders: the signature of a file that is named, too
}

func (e *LeftOutError) Error() string { return e.File + " " + e.Reason }

// Detect recognises a file by its content, and by its name where the content cannot tell. The
// error is a *LeftOutError for what is never meant to be signed.
func Detect(path string) (Kind, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	name := filepath.Base(path)
	leftOut := func(reason string) (Kind, error) { return "", &LeftOutError{File: path, Reason: reason} }
	switch {
	case info.IsDir():
		return leftOut("is a folder; name the files in it")
	case !info.Mode().IsRegular():
		return leftOut("is not a regular file")
	case info.Size() == 0:
		return leftOut("is empty")
	case name == "InRelease" || slices.Contains(signatureEndings, strings.ToLower(filepath.Ext(name))):
		return leftOut("is a signature, key or certificate itself; name the file that is signed")
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
	if name == "Release" && !isAptRelease(c.head) && isComponentRelease(c.head) {
		return leftOut("is the Release of a component; the suite's Release covers it")
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
