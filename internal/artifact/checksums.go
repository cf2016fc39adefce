package artifact

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// checksumName is what lists of checksums are called: SHA256SUMS, app_SHA256SUMS, app.sha256,
// sha256sum.txt, SHASUMS256.txt, checksums.txt, app_1.0_checksums.txt.
var checksumName = regexp.MustCompile(`(?i)(?:^|[._-])(?:(md5|sha1|sha224|sha256|sha384|sha512)(?:sums?)?|shasums?(256|512)|checksums?)(?:\.txt)?$`)

// The forms of a line: coreutils' with a mark of text or binary, that of its --tag and of openssl,
// and a digest alone, as beside the files of Maven's repositories.
var (
	gnuLine  = regexp.MustCompile(`^(\\?)([0-9a-fA-F]+) [ *]?(.+)$`)
	tagLine  = regexp.MustCompile(`^(\\?)([A-Za-z0-9-]+) ?\((.+)\) ?= ([0-9a-fA-F]+)$`)
	bareLine = regexp.MustCompile(`^[0-9a-fA-F]+$`)
)

// hashOfLength is the digest of so many hex digits.
var hashOfLength = map[int]string{32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}

// checksumList reads a list of checksums. It is nil for a file that is none.
func checksumList(path string) (*listing, error) {
	name := filepath.Base(path)
	match := checksumName.FindStringSubmatchIndex(name)
	if match == nil {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	want := ""
	if match[2] >= 0 {
		want = strings.ToLower(name[match[2]:match[3]])
	} else if match[4] >= 0 {
		want = "sha" + name[match[4]:match[5]]
	}
	return parseChecksums(string(data), want, name[:match[0]]), nil
}

// parseChecksums reads a text with digests of the kind want, or of any if that is empty. A digest
// and nothing else is that of the file single. Where a line is of no known form, none is compared.
func parseChecksums(text, want, single string) *listing {
	list := &listing{lines: slices.Collect(strings.Lines(text))}
	if len(list.lines) > 1 {
		single = ""
	}
	odd := 0
	for i, line := range list.lines {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		entry, ok := parseChecksum(line, single)
		if ok && (want == "" || entry.hash == want) {
			entry.line = i
			list.entries = append(list.entries, entry)
		} else if odd == 0 {
			odd = i + 1
		}
	}
	if len(list.entries) == 0 {
		return nil
	}
	if odd > 0 {
		list.entries, list.note = nil, fmt.Sprintf("its checksums are not compared: line %d is of no known form", odd)
	}
	return list
}

func parseChecksum(line, single string) (listed, bool) {
	var name string
	var digest span
	var escaped bool
	algorithm := ""
	if m := tagLine.FindStringSubmatchIndex(line); m != nil {
		escaped, name, digest = m[3] > m[2], line[m[6]:m[7]], span{m[8], m[9]}
		// OpenSSL 3 says SHA2-256.
		algorithm = strings.Replace(strings.ToLower(line[m[4]:m[5]]), "sha2-", "sha", 1)
	} else if m := gnuLine.FindStringSubmatchIndex(line); m != nil {
		escaped, name, digest = m[3] > m[2], line[m[6]:m[7]], span{m[4], m[5]}
	} else if bareLine.MatchString(line) && single != "" {
		name, digest = single, span{0, len(line)}
	} else {
		return listed{}, false
	}
	kind := hashOfLength[digest.to-digest.from]
	if kind == "" || algorithm != "" && algorithm != kind {
		return listed{}, false
	}
	if escaped {
		name = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
	}
	return listed{name: filepath.Clean(name), hash: kind, digest: digest}, true
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
		renewed, err := s.Lists.compare(ctx, file, list.withoutItself(file, beside), true)
		if err != nil {
			return nil, err
		}
		s.Lists.tell(list, renewed)
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
		_, err = v.Lists.compare(ctx, file, list.withoutItself(file, beside), false)
		return err
	}
}
