package artifact

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// checksumNames are what lists of checksums are called: SHA256SUMS, app_SHA256SUMS, app.sha256, sha256sum.txt, SHASUMS256.txt,
// checksums.txt, app_1.0_checksums.txt, B2SUMS; and, for names that say that there are several, with a version or a machine behind:
// SHA256SUMS-1.0, sha256sum-amd64.txt, CHECKSUM.SHA256-1.0-amd64.
var checksumNames = []*regexp.Regexp{
	regexp.MustCompile(`(?i)(?:^|[._-])(?:` + hashInName + `(?:sums?)?|(?:(b2|b3|sha3)sums?)|shasums?(256|512)|checksums?)(?:\.txt)?$`),
	regexp.MustCompile(`(?i)(?:^|[._-])(?:` + hashInName + `sums?|(?:(b2|b3|sha3)sums?)|shasums?(256|512)|checksums?(?:\.` + hashInName + `)?)` +
		`(?:[_-]|\.v?[0-9])[a-z0-9+~_-]*(?:\.[0-9]+(?:(?:a|b|p|rc|alpha|beta)[0-9]*)?(?:[+~_-][a-z0-9+~_-]*)?)*(?:\.txt)?$`),
}

const hashInName = `(md5|sha1|sha224|sha256|sha384|sha512|sha3-?(?:224|256|384|512)|blake2b|blake2s|blake3)`

// hashOfName is the digest that the name of a list says it has, in the words of listHashes where it is one of those; list is false
// for other files. single is what comes before: the file beside which a digest alone lies.
func hashOfName(name string) (hash, single string, list bool) {
	for _, pattern := range checksumNames {
		match := pattern.FindStringSubmatchIndex(name)
		if match == nil {
			continue
		}
		for group := 2; group < len(match); group += 2 {
			if match[group] >= 0 {
				hash = strings.ToLower(name[match[group]:match[group+1]])
			}
		}
		switch hash {
		case "256", "512":
			hash = "sha" + hash
		case "b2":
			hash = "blake2b"
		}
		return hash, name[:match[0]], true
	}
	return "", "", false
}

// The forms of a line: coreutils' with a mark of text or binary, that of its --tag and of openssl,
// and a digest alone, as beside the files of Maven's repositories.
var (
	gnuLine  = regexp.MustCompile(`^[ \t]*(\\?)([0-9a-fA-F]+)[ \t][ *]?(.+)$`)
	tagLine  = regexp.MustCompile(`^[ \t]*(\\?)([A-Za-z0-9-]+) ?\((.+)\) ?= ([0-9a-fA-F]+)$`)
	bareLine = regexp.MustCompile(`^[0-9a-fA-F]+$`)
)

// hashOfLength is the digest of so many hex digits, where nothing says which one it is.
var hashOfLength = map[int]string{32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}

// hasLength reports whether a digest of that kind has so many hex digits.
func hasLength(kind string, digits int) bool {
	return listHashes[kind] != nil && listHashes[kind]().Size()*2 == digits
}

// checksumList reads a list of checksums. It is nil for a file that is none, going by its name; a program of that name is none.
func checksumList(path string) (*listing, error) {
	want, single, list := hashOfName(filepath.Base(path))
	if !list {
		return nil, nil
	}
	data, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(data, []byte(elf.ELFMAG)) || bytes.HasPrefix(data, []byte("#!")) {
		return nil, nil
	}
	return parseChecksums(string(data), want, single), nil
}

// byteOrderMark is what editors of Windows put in front of a text.
const byteOrderMark = "\ufeff"

// parseChecksums reads a text with digests of the kind want, or of any if that is empty. A digest and nothing else is that of the
// file single. A list is read as a whole or not at all: of one with lines that say nothing, nobody could tell what it is true of.
func parseChecksums(text, want, single string) *listing {
	list := &listing{lines: slices.Collect(strings.Lines(text))}
	var read []int // indexes of the lines that say something
	for i, line := range list.lines {
		if line = strings.TrimPrefix(line, byteOrderMark); strings.TrimSpace(line) != "" && line[0] != '#' {
			read = append(read, i)
		}
	}
	if len(read) != 1 {
		single = ""
	}
	for _, i := range read {
		line := strings.TrimRight(list.lines[i], "\r\n")
		before := len(line)
		line = strings.TrimPrefix(line, byteOrderMark)
		before -= len(line)
		entry, err := parseChecksum(line, want, single)
		if err != nil {
			list.entries, list.unread = nil, fmt.Sprintf("line %d %s", i+1, err)
			return list
		}
		entry.line = i
		entry.digest.from, entry.digest.to = entry.digest.from+before, entry.digest.to+before
		list.entries = append(list.entries, entry)
	}
	if len(list.entries) == 0 {
		list.unread = "it lists no file"
	}
	return list
}

// parseChecksum reads a line. The error continues a sentence about it.
func parseChecksum(line, want, single string) (listed, error) {
	var name, kind string
	var digest span
	var escaped bool
	if m := tagLine.FindStringSubmatchIndex(line); m != nil {
		escaped, name, digest = m[3] > m[2], line[m[6]:m[7]], span{m[8], m[9]}
		kind = hashOfTag(line[m[4]:m[5]])
	} else if m := gnuLine.FindStringSubmatchIndex(line); m != nil {
		escaped, name, digest = m[3] > m[2], line[m[6]:m[7]], span{m[4], m[5]}
	} else if bare := strings.TrimRight(line, " \t"); bareLine.MatchString(bare) && single != "" {
		name, digest = single, span{0, len(bare)}
	} else {
		return listed{}, errors.New("is of no known form")
	}
	length := hashOfLength[digest.to-digest.from]
	if kind == "" {
		if kind = want; kind == "" || listHashes[kind] != nil && !hasLength(kind, digest.to-digest.from) {
			kind = length
		}
	}
	switch {
	case kind == "":
		return listed{}, errors.New("has no digest of a known length")
	case listHashes[kind] == nil:
		return listed{}, fmt.Errorf("has a digest that is not known, %s", strings.ToUpper(kind))
	case !hasLength(kind, digest.to-digest.from):
		return listed{}, fmt.Errorf("has %d hex digits, not those of %s", digest.to-digest.from, strings.ToUpper(kind))
	case want != "" && kind != want:
		return listed{}, fmt.Errorf("has a digest of %s, and the name of the list says %s", strings.ToUpper(kind), strings.ToUpper(want))
	}
	if escaped {
		name = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
	}
	return listed{name: filepath.Clean(name), hash: kind, digest: digest}, nil
}

// hashOfTag is the digest that a line names. OpenSSL 3 says SHA2-256 and BLAKE2B-512, and b2sum BLAKE2b.
func hashOfTag(tag string) string {
	kind := strings.Replace(strings.ToLower(tag), "sha2-", "sha", 1)
	if kind == "blake2b-512" {
		return "blake2b"
	}
	return kind
}

// readable decides about a list that cannot be read as a whole: it is refused, or taken for any other file where that was asked for.
// compared is false then, and a note says so.
func (l *Lists) readable(list *listing) (compared bool, err error) {
	switch {
	case list.unread == "":
		return true, nil
	case !l.Detached:
		return false, fmt.Errorf("its checksums cannot be compared: %s; --detached asks for the signature alone", list.unread)
	}
	l.tell("not compared with the files that it lists: " + list.unread)
	return false, nil
}

// withoutItself leaves out what a list cannot say: its own digest, and that of its signature, which
// comes after it.
func (l *listing) withoutItself(path string, beside func(string) []string) *listing {
	own := append(beside(filepath.Base(path)), filepath.Base(path))
	l.entries = slices.DeleteFunc(l.entries, func(e listed) bool { return slices.Contains(own, e.name) })
	return l
}

// signsList lets a format with signatures beside the file look at a list of checksums first: one that
// is true is signed as any file is; another is refused, or brought up to date.
func signsList(beside func(string) []string, sign func(*Signer, context.Context, string, string) ([]Output, error)) func(*Signer, context.Context, string, string) ([]Output, error) {
	return func(s *Signer, ctx context.Context, file, dir string) ([]Output, error) {
		list, err := checksumList(file)
		if err != nil {
			return nil, err
		}
		if list == nil {
			return sign(s, ctx, file, dir)
		}
		if compared, err := s.Lists.readable(list); err != nil {
			return nil, err
		} else if !compared {
			return sign(s, ctx, file, dir)
		}
		renewed, err := s.Lists.compare(ctx, file, list.withoutItself(file, beside), true)
		if err != nil {
			return nil, err
		}
		s.Lists.tellRenewed(renewed)
		if len(renewed) == 0 {
			return sign(s, ctx, file, dir)
		}
		folder := filepath.Join(dir, "renewed") // the signature's name comes from the list's
		if err := os.Mkdir(folder, 0o700); err != nil {
			return nil, err
		}
		name := filepath.Base(file)
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(list.text()), 0o600); err != nil {
			return nil, err
		}
		signatures, err := sign(s, ctx, path, dir)
		return append([]Output{{path, name}}, signatures...), err
	}
}

// verifiesList lets a format judge the files of a list of checksums, after its signature.
func verifiesList(beside func(string) []string, verify func(verification, context.Context, string, string) error) func(verification, context.Context, string, string) error {
	return func(v verification, ctx context.Context, file, dir string) error {
		if err := verify(v, ctx, file, dir); err != nil || v.Lists.checked {
			return err
		}
		list, err := checksumList(file)
		if err != nil || list == nil {
			return err
		}
		if compared, err := v.Lists.readable(list); err != nil || !compared {
			return err
		}
		_, err = v.Lists.compare(ctx, file, list.withoutItself(file, beside), false)
		return err
	}
}
