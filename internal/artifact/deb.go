package artifact

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

var debFormat = format{
	kind: Deb, openPGP: true, embedded: true,
	facts: Facts{
		Files: "Debian packages", Tool: "gpg", Judge: "debsig-verify",
		Versions: "GnuPG 2.2 or later; debsig-verify as in Debian 11 or later",
		Keys:     "RSA, ECDSA",
		Several:  "one of type origin: refused unless --existing allows it; other types are kept",
		Limits:   "9.3 GiB per member (limit of the format)",
	},
	match: func(c *candidate) bool { return c.hasMagic(arMagic + "debian-binary") }, // deb(5)
	sign:  inPlace((*Signer).signDeb),
	signers: func(v verification, ctx context.Context, path, _ string) ([]signer, error) {
		return debSigners(path, func(m arMember) bool { return isDebSignature(m.name) })
	},
	// Signatures of other types stay.
	existing: func(v verification, ctx context.Context, path string) ([]signer, error) {
		return debSigners(path, isOrigin)
	},
	single: func(verification, context.Context, string) (string, error) {
		return "a Debian package holds one signature of type origin", nil
	},
	verify: verification.verifyDeb,
}

// originMember is the member that holds the signature of type "origin" (deb-src of debsigs,
// signing-method.txt).
const originMember = "_gpgorigin"

const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
)

// arMember is a member of an archive: where its content stands.
type arMember struct {
	name         string
	offset, size int64
}

// debMembers reads the list of members of a Debian package, and takes only what every reader
// understands in the same way: debian-binary, one control and one data member, in this order,
// then signatures; nothing twice, nothing else, no octet between or behind (deb(5)). In any other
// archive the members that a verifier looks at need not be those that dpkg unpacks.
func debMembers(archive io.ReaderAt, size int64) ([]arMember, error) {
	members, err := arMembers(archive, size)
	if err != nil {
		return nil, err
	}
	want := []func(name string) bool{
		func(name string) bool { return name == "debian-binary" },
		isOneOf("control.tar", "", ".gz", ".xz", ".zst"),
		isOneOf("data.tar", "", ".gz", ".bz2", ".lzma", ".xz", ".zst"),
	}
	seen := map[string]bool{}
	for i, member := range members {
		switch {
		case seen[member.name]:
			return nil, fmt.Errorf("the package has the member %s twice", strconv.QuoteToASCII(member.name))
		case i < len(want) && !want[i](member.name), i >= len(want) && !isDebSignature(member.name):
			return nil, fmt.Errorf("the package has the member %s where deb(5) has none", strconv.QuoteToASCII(member.name))
		}
		seen[member.name] = true
	}
	if len(members) < len(want) {
		return nil, fmt.Errorf("the package has %d members; %d are the least", len(members), len(want))
	}
	version := make([]byte, len(debVersion)+1)
	n, err := archive.ReadAt(version[:min(int64(len(version)), members[0].size)], members[0].offset)
	if err != nil || string(version[:n]) != debVersion {
		return nil, errors.New("the package's debian-binary does not say 2.0")
	}
	for _, member := range members[1:3] {
		if err := checkDebTar(archive, member); err != nil {
			return nil, fmt.Errorf("%s: %w", member.name, err)
		}
	}
	return members, nil
}

// debVersion is the content of debian-binary.
const debVersion = "2.0\n"

// debMagic is how the content of a member begins, by the ending of its name.
var debMagic = map[string]string{
	".gz": "\x1f\x8b", ".xz": "\xfd7zXZ\x00", ".zst": "\x28\xb5\x2f\xfd", ".bz2": "BZh", ".lzma": "\x5d\x00\x00",
}

// checkDebTar checks that a member begins and, as far as it is not compressed, ends as a tar does. A
// signature covers the contents one behind the other, so it says nothing of where one ends.
func checkDebTar(archive io.ReaderAt, member arMember) error {
	content := io.NewSectionReader(archive, member.offset, member.size)
	if magic, ok := debMagic[filepath.Ext(member.name)]; ok {
		begin := make([]byte, len(magic))
		if _, err := io.ReadFull(content, begin); err != nil || string(begin) != magic {
			return errors.New("it does not begin as its name says")
		}
		return nil
	}
	// The end is at least two blocks of zeros, and nothing but zeros follows (tar(5)).
	block, zeros := make([]byte, 512), 0
	for reader := tar.NewReader(content); ; {
		if _, err := reader.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	if member.size%512 != 0 || member.size < 1024 {
		return errors.New("it is cut off")
	}
	for at := member.size - 1024; at < member.size; at += 512 {
		if _, err := content.ReadAt(block, at); err != nil {
			return err
		}
		if len(bytes.Trim(block, "\x00")) == 0 {
			zeros++
		}
	}
	// The reader has stopped behind the first block of zeros and the next one.
	if _, err := io.Copy(zerosOnly{}, content); err != nil || zeros < 2 {
		return errors.New("it does not end as a tar does")
	}
	return nil
}

// zerosOnly takes no other octets.
type zerosOnly struct{}

func (zerosOnly) Write(p []byte) (int, error) {
	if len(bytes.Trim(p, "\x00")) > 0 {
		return 0, errors.New("there is more behind the end")
	}
	return len(p), nil
}

func isOrigin(m arMember) bool { return m.name == originMember }

func isOneOf(stem string, endings ...string) func(name string) bool {
	return func(name string) bool {
		ending, ok := strings.CutPrefix(name, stem)
		return ok && slices.Contains(endings, ending)
	}
}

// isDebSignature: debsigs names signatures by their type, such as origin or maint.
func isDebSignature(name string) bool {
	kind, ok := strings.CutPrefix(name, "_gpg")
	return ok && kind != "" && strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz") == ""
}

// arMembers reads the headers of an archive (ar(5), as dpkg-deb and binutils write it).
func arMembers(archive io.ReaderAt, size int64) ([]arMember, error) {
	magic := make([]byte, len(arMagic))
	if _, err := archive.ReadAt(magic, 0); err != nil || string(magic) != arMagic {
		return nil, errors.New("this is not an ar archive")
	}
	var members []arMember
	header := make([]byte, arHeaderSize)
	for offset := int64(len(arMagic)); offset < size; {
		if _, err := archive.ReadAt(header, offset); err != nil || string(header[58:]) != "`\n" {
			return nil, errors.New("the archive is damaged: there is no member where one should begin")
		}
		length, err := strconv.ParseInt(strings.TrimRight(string(header[48:58]), " "), 10, 64)
		if err != nil || length < 0 || length > size-offset-arHeaderSize {
			return nil, errors.New("the archive is damaged: a member is longer than the file")
		}
		// binutils ends a name with a slash.
		name := strings.TrimSuffix(strings.TrimRight(string(header[:16]), " "), "/")
		members = append(members, arMember{name, offset + arHeaderSize, length})
		offset += arHeaderSize + length + length%2
		if offset > size+1 || len(members) > 100 {
			return nil, errors.New("the archive is damaged: too many members, or the last is cut off")
		}
	}
	return members, nil
}

// signDeb makes the signature that debsigs makes: of the contents of debian-binary, control and
// data, one behind the other, in a member of its own. debsigs itself knows not every compression:
// before 0.1.26 it leaves out a zstd member, and ends with status 0.
func (s *Signer) signDeb(ctx context.Context, path string) error {
	file, members, err := openDeb(path, os.O_RDWR)
	if err != nil {
		return err
	}
	defer file.Close()
	if i := slices.IndexFunc(members, isOrigin); i >= 0 && !s.Replace {
		m := members[i]
		return fmt.Errorf("the package is signed by %s already; --existing replace takes that signature away",
			signerNames(openPGPSigners(io.NewSectionReader(file, m.offset, m.size))))
	}
	signature := filepath.Join(filepath.Dir(path), ".origin.gpg")
	args := []string{"--batch", "--no-tty", "--yes", "--local-user", s.OpenPGP.Fingerprint, "--output", signature, "--detach-sign"}
	if _, err := pipe(ctx, debContent(file, members), s.gpgEnvironment(), "", "gpg", args...); err != nil {
		return err
	}
	content, err := os.ReadFile(signature)
	if err != nil {
		return err
	}
	kept := slices.DeleteFunc(members, isOrigin)
	return errors.Join(writeOrigin(file, kept, content), file.Close())
}

// openDeb opens a package whose structure is as it should be. The caller closes it.
func openDeb(path string, flag int) (*os.File, []arMember, error) {
	file, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	members, err := debMembers(file, info.Size())
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, members, nil
}

// debContent is what a signature covers.
func debContent(archive io.ReaderAt, members []arMember) io.Reader {
	var parts []io.Reader
	for _, member := range members[:3] {
		parts = append(parts, io.NewSectionReader(archive, member.offset, member.size))
	}
	return io.MultiReader(parts...)
}

// writeOrigin leaves the kept members where they are, as far as they are behind one another, and
// adds the signature as the last one.
func writeOrigin(file *os.File, kept []arMember, signature []byte) error {
	end := int64(len(arMagic))
	for _, member := range kept {
		size := arHeaderSize + member.size + member.size%2
		if from := member.offset - arHeaderSize; from != end {
			data := make([]byte, size) // a signature: what stands before it is never moved
			if _, err := file.ReadAt(data, from); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if _, err := file.WriteAt(data, end); err != nil {
				return err
			}
		}
		end += size
	}
	header := fmt.Sprintf("%-16s%-12d%-6d%-6d%-8o%-10d`\n", originMember, time.Now().Unix(), 0, 0, 0o100644, len(signature))
	data := append([]byte(header), signature...)
	if len(signature)%2 == 1 {
		data = append(data, '\n')
	}
	if err := file.Truncate(end); err != nil {
		return err
	}
	_, err := file.WriteAt(data, end)
	return err
}

// debsigPolicy wants a signature of a key in key.gpg. It names no id there: debsig-verify has found the policy by that of the
// signature, would ask gpg three more times to compare it again, and key.gpg holds the one key that may have made it.
const debsigPolicy = `<?xml version="1.0"?>
<!DOCTYPE Policy SYSTEM "https://www.debian.org/debsig/1.0/policy.dtd">
<Policy xmlns="https://www.debian.org/debsig/1.0/">
  <Origin Name="signkit" id="%[1]s" Description="the key that was named"/>
  <Selection><Required Type="origin" File="key.gpg"/></Selection>
  <Verification MinOptional="0"><Required Type="origin" File="key.gpg"/></Verification>
</Policy>
`

// debSigners are those of some members.
func debSigners(path string, which func(arMember) bool) ([]signer, error) {
	file, members, err := openDeb(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var signatures []io.Reader
	for _, m := range members {
		if which(m) {
			signatures = append(signatures, io.NewSectionReader(file, m.offset, m.size))
		}
	}
	if len(signatures) == 0 {
		return nil, ErrUnsigned
	}
	return openPGPSigners(io.MultiReader(signatures...)), nil
}

// verifyDeb reads the structure first, then lets debsig-verify judge with a policy that knows
// these keys alone.
func (v verification) verifyDeb(ctx context.Context, path, _ string) error {
	file, members, err := openDeb(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close()
	origin := slices.IndexFunc(members, isOrigin)
	if origin < 0 {
		return ErrUnsigned
	}
	const most = 1 << 20
	if members[origin].size > most {
		return fmt.Errorf("%s is longer than any signature", originMember)
	}
	signature := make([]byte, members[origin].size)
	if _, err := file.ReadAt(signature, members[origin].offset); err != nil {
		return err
	}
	if _, err := readDetached(signature); err != nil { // old releases of gpg take more than that for one
		return fmt.Errorf("%s: %w", originMember, err)
	}
	keys, err := v.keys()
	if err != nil {
		return err
	}
	policies, keyrings := v.path("policies"), v.path("keyrings")
	for _, key := range keys {
		ring, err := key.Binary()
		if err != nil {
			return err
		}
		for _, id := range key.KeyIDs() { // a signature names the key or subkey that made it
			for file, data := range map[string][]byte{
				filepath.Join(keyrings, id, "key.gpg"):     ring,
				filepath.Join(policies, id, "signkit.pol"): fmt.Appendf(nil, debsigPolicy, id),
			} {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(file, data, 0o644); err != nil {
					return err
				}
			}
		}
	}
	environ, err := v.debsigEnvironment()
	if err != nil {
		return err
	}
	_, err = run(ctx, environ, "", "debsig-verify", "--policies-dir", policies, "--keyrings-dir", keyrings, path)
	return err
}
