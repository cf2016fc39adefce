// Package artifact knows the files that releases are made of: how each is recognised, which
// tool signs it and which one verifies it. The tools are the distributions' own; this package
// runs them, and reads nothing of a signature that they can read themselves.
//
// It prepares neither keys nor credentials: OpenPGP formats need a GNUPGHOME whose agent can
// sign (OpenPGP), the others a key on a PKCS#11 token (X509).
package artifact

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kind is a format with its own way of being signed.
type Kind string

// The kinds, named as users know them.
const (
	RPM          Kind = "rpm"          // signature in the package's header
	Deb          Kind = "deb"          // signature as a member of the archive
	Jar          Kind = "jar"          // signature under META-INF
	Authenticode Kind = "authenticode" // PE, MSI, CAB, PowerShell: signature inside
	AptRelease   Kind = "apt-release"  // Release of an apt repository: InRelease and Release.gpg
	YumIndex     Kind = "yum-index"    // repomd.xml of a yum repository: repomd.xml.asc
	Plain        Kind = "file"         // anything else: detached OpenPGP signature, FILE.asc
	CMS          Kind = "cms"          // anything, when asked for: detached CMS signature, FILE.p7s
)

// UsesOpenPGP reports whether the kind is signed with an OpenPGP key; the others take a key
// with an X.509 certificate.
func (k Kind) UsesOpenPGP() bool {
	return slices.Contains([]Kind{RPM, Deb, AptRelease, YumIndex, Plain}, k)
}

// Embedded reports whether signing changes the file itself, and not just adds another.
func (k Kind) Embedded() bool {
	return slices.Contains([]Kind{RPM, Deb, Jar, Authenticode}, k)
}

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
	return classify(file, head[:n], name, info.Size()), nil
}

func classify(file io.ReaderAt, head []byte, name string, size int64) Kind {
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	extension := strings.ToLower(filepath.Ext(name))
	switch {
	case has("\xed\xab\xee\xdb"): // rpm's lead
		return RPM
	case has("!<arch>\ndebian-binary"): // deb(5)
		return Deb
	case has("PK\x03\x04") && isJar(file, size, extension):
		return Jar
	case isPE(file, head), has("MSCF"):
		return Authenticode
	case has("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") && slices.Contains([]string{".msi", ".msp", ".mst"}, extension):
		return Authenticode
	case slices.Contains([]string{".ps1", ".psm1", ".psd1", ".ps1xml"}, extension):
		return Authenticode
	case name == "Release" && isAptRelease(head):
		return AptRelease
	case name == "repomd.xml" && isYumIndex(head):
		return YumIndex
	}
	return Plain
}

// isPE follows the offset at 0x3c to the signature (PE format, "Signature").
func isPE(file io.ReaderAt, head []byte) bool {
	if len(head) < 0x40 || !bytes.HasPrefix(head, []byte("MZ")) {
		return false
	}
	var signature [4]byte
	_, err := file.ReadAt(signature[:], int64(binary.LittleEndian.Uint32(head[0x3c:])))
	return err == nil && string(signature[:]) == "PE\x00\x00"
}

// isJar wants a manifest or the name of a Java archive: other zip files are not for jarsigner.
func isJar(file io.ReaderAt, size int64, extension string) bool {
	if slices.Contains([]string{".jar", ".war", ".ear"}, extension) {
		return true
	}
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(archive.File, func(f *zip.File) bool { return f.Name == "META-INF/MANIFEST.MF" })
}

// isAptRelease looks for a field that every Release with content has (apt-secure(8)).
func isAptRelease(head []byte) bool {
	for line := range bytes.Lines(head) {
		for _, field := range []string{"Suite:", "Codename:", "MD5Sum:", "SHA256:", "Origin:", "Date:"} {
			if bytes.HasPrefix(line, []byte(field)) {
				return true
			}
		}
	}
	return false
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
