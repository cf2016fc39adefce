package artifact

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
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
func Detect(file string) (Kind, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	name := filepath.Base(file)
	leftOut := func(reason string) (Kind, error) { return "", &LeftOutError{File: file, Reason: reason} }
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
	content, c, err := openCandidate(file)
	if err != nil {
		return "", err
	}
	defer content.Close()
	if name == "Release" && !isAptRelease(c.head) && isComponentRelease(c.head) {
		return leftOut("is the Release of a component; the suite's Release covers it")
	}
	if f := foreignContent(c); f != nil {
		return Foreign, &ForeignError{file, *f}
	}
	for _, f := range formats {
		if f.kind != Plain && f.match != nil && f.match(c) {
			return f.kind, nil
		}
	}
	if f := foreignName(c); f != nil {
		return Foreign, &ForeignError{file, *f}
	}
	return Plain, nil
}

// openCandidate reads the beginning of a file. The caller closes it.
func openCandidate(path string) (*os.File, *candidate, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	head := make([]byte, 4096)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), file.Close())
	}
	name := filepath.Base(path)
	return file, &candidate{
		content: file, head: head[:n], size: info.Size(), name: name, extension: strings.ToLower(filepath.Ext(name)),
	}, nil
}

// candidate is a file whose format is looked for.
type candidate struct {
	content   io.ReaderAt
	head      []byte // its first 4096 octets, or all
	size      int64
	name      string // without folders
	extension string // of the name, in lower case, with its dot

	archive     *zip.Reader // see entries
	archiveRead bool
}

// entries are those of a file that is a zip archive, or has one behind a program or script; else none.
func (c *candidate) entries() []*zip.File {
	if !c.archiveRead && (c.hasMagic("PK\x03\x04") || c.hasMagic("MZ") || c.hasMagic("#!")) {
		c.archive, _ = zip.NewReader(c.content, c.size) // no archive: none of the formats that are one
	}
	c.archiveRead = true
	if c.archive == nil {
		return nil
	}
	return c.archive.File
}

// entry is one of entries; nil where there is none of that name.
func (c *candidate) entry(name string) *zip.File {
	entries := c.entries()
	if i := slices.IndexFunc(entries, func(f *zip.File) bool { return f.Name == name }); i >= 0 {
		return entries[i]
	}
	return nil
}

func (c *candidate) hasEntry(name string) bool { return c.entry(name) != nil }

// hasEntryLike knows a name by a pattern of path.Match, which leaves out folders below.
func (c *candidate) hasEntryLike(pattern string) bool {
	return slices.ContainsFunc(c.entries(), func(f *zip.File) bool {
		ok, _ := path.Match(pattern, f.Name) // the patterns are good
		return ok
	})
}

func (c *candidate) hasMagic(magic string) bool { return bytes.HasPrefix(c.head, []byte(magic)) }

func (c *candidate) hasExtension(list ...string) bool { return slices.Contains(list, c.extension) }
