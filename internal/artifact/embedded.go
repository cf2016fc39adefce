package artifact

import (
	"archive/zip"
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smallstep/pkcs7"
)

// mostSignature bounds what is read of a signature in a file, in bytes: those of drivers for many
// systems have some hundred kilobytes.
const mostSignature = 16 << 20

// embeddedSignatures reads the Authenticode signatures in a file, each a CMS SignedData (DER), as far
// as they stand side by side; those that are nested are in the first. It asks no tool: osslsigncode
// before 2.13 has faults that a signature made for them could use, and a file that is
// about to be signed may come from anybody. ErrUnsigned: there is none.
func embeddedSignatures(path string) ([][]byte, error) {
	file, c, err := openCandidate(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	one := func(signature []byte, err error) ([][]byte, error) {
		if err == nil && signature == nil {
			err = ErrUnsigned
		}
		if err != nil {
			return nil, err
		}
		return [][]byte{signature}, nil
	}
	switch {
	case isPE(file, c.head):
		return peSignatures(file, c.size)
	case c.hasMagic(cabMagic):
		return one(cabSignature(file, c.size))
	case c.hasMagic(msiMagic):
		return one(msiSignature(file, c.size))
	case isAppPackage(c):
		return one(appSignature(file, c.size))
	case slices.Contains(scriptEndings, strings.ToLower(filepath.Ext(path))):
		return one(scriptSignature(file, c.size))
	}
	return one(catalogSignature(file, c.size))
}

// appSignature reads AppxSignature.p7x: "PKCX" and a SignedData (MS-APPX).
func appSignature(file io.ReaderAt, size int64) ([]byte, error) {
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return nil, fmt.Errorf("reading the app package: %w", err)
	}
	for _, entry := range archive.File {
		if entry.Name != "AppxSignature.p7x" {
			continue
		}
		content, err := entry.Open()
		if err != nil {
			return nil, fmt.Errorf("reading the app package: %w", err)
		}
		defer content.Close()
		data, err := io.ReadAll(io.LimitReader(content, mostSignature))
		if err != nil {
			return nil, fmt.Errorf("reading the app package: %w", err)
		}
		signature, found := bytes.CutPrefix(data, []byte("PKCX"))
		if !found {
			return nil, errors.New("the app package's signature cannot be read")
		}
		return signature, nil
	}
	return nil, ErrUnsigned
}

// catalogSignature is the catalog itself, if anybody has signed it.
func catalogSignature(file io.ReaderAt, size int64) ([]byte, error) {
	data, err := readWhole(file, size)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(data); block != nil {
		data = block.Bytes
	}
	message, err := pkcs7.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading the catalog: %w", err)
	}
	if len(message.Signers) == 0 {
		return nil, ErrUnsigned
	}
	return data, nil
}

// mostWhole is room for any script or catalog that somebody has written.
const mostWhole = 256 << 20

// readWhole reads a file that must be looked at as a whole.
func readWhole(file io.ReaderAt, size int64) ([]byte, error) {
	if size > mostWhole {
		return nil, fmt.Errorf("scripts and catalogs of more than %d MB are not read", mostWhole>>20)
	}
	return io.ReadAll(io.NewSectionReader(file, 0, size))
}

// readSignature reads a signature of which a file says where it stands.
func readSignature(file io.ReaderAt, at, length int64) ([]byte, error) {
	if length > mostSignature {
		return nil, fmt.Errorf("the signature has more than %d MB", mostSignature>>20)
	}
	signature := make([]byte, length)
	if _, err := file.ReadAt(signature, at); err != nil {
		return nil, fmt.Errorf("reading the signature: %w", err)
	}
	return signature, nil
}
