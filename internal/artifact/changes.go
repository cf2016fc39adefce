package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
)

// uploadFormat: the control files of an upload to Debian's archive, or to one that works as that does.
// Each is one paragraph of fields (deb822(5)), clear-signed in its place; the outer ones list the inner.
var uploadFormat = format{
	kind: DebianUpload, openPGP: true, embedded: true,
	facts: Facts{
		Files: ".changes, .buildinfo and .dsc of Debian", Tool: "gpg", Judge: "gpgv",
		Versions: "GnuPG 2.2 or later",
		Keys:     "RSA, ECDSA",
		Several:  "refused unless --existing allows it",
		Limits:   "the files they list must be present and match; files of these kinds that .changes and .buildinfo list are signed too",
	},
	match: func(c *candidate) bool {
		return uploadVersions[c.extension] != nil && hasField(c.head, "Format") && hasField(c.head, "Source")
	},
	lists: uploadList,
	sign:  (*Signer).signUpload,
	signers: func(v verification, ctx context.Context, file, _ string) ([]signer, error) {
		return uploadSigners(v, ctx, file)
	},
	existing: uploadSigners,
	single: func(verification, context.Context, string) (string, error) {
		return "a control file of Debian holds one signature", nil
	},
	verify: verification.verifyUpload,
}

func uploadSigners(_ verification, _ context.Context, file string) ([]signer, error) {
	upload, err := readUpload(file)
	if err != nil {
		return nil, err
	}
	if upload.signature == nil {
		return nil, ErrUnsigned
	}
	return openPGPSigners(upload.signature.ArmoredSignature.Body), nil
}

// uploadVersions are the values of the field Format that are known, by the ending of the name; where
// none is there, any is taken: that of a .dsc says what its archives are, not what its fields mean.
var uploadVersions = map[string][]string{
	".changes": {"1.7", "1.8"}, ".buildinfo": {"0.1", "0.2", "1.0"}, ".dsc": {},
}

// isUploadPart knows the files of an upload that are signed themselves.
func isUploadPart(name string) bool {
	extension := filepath.Ext(name)
	return extension == ".dsc" || extension == ".buildinfo"
}

// upload is one of the control files.
type upload struct {
	*listing                   // of the text without signature
	signature *clearsign.Block // nil where it is not signed
}

// readUpload reads a control file strictly: nothing is outside of the signature, and there is nothing
// that two readers could take for two things.
func readUpload(path string) (*upload, error) {
	data, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	u := &upload{}
	text := string(data)
	if bytes.Contains(data, []byte("-----BEGIN PGP")) {
		if u.signature, err = clearSigned(data); err != nil {
			return nil, fmt.Errorf("%s %w", filepath.Base(path), err)
		}
		text = string(u.signature.Plaintext) + "\n"
	}
	u.listing, err = parseUpload(text, filepath.Ext(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return u, nil
}

// parseUpload reads the one paragraph of a control file.
func parseUpload(text, extension string) (*listing, error) {
	list := &listing{lines: slices.Collect(strings.Lines(text)), required: isUploadPart, automatic: true}
	fields := map[string]string{}  // by names in lower case
	files := map[string][]string{} // what each field lists
	field, ended := "", false
	for i, line := range list.lines {
		content := strings.TrimRight(line, " \t\r\n")
		switch {
		case content == "":
			ended = true
			continue
		case ended && len(fields) > 0:
			return nil, errors.New("it is more than one paragraph")
		case content[0] == ' ' || content[0] == '\t':
			if field == "" {
				return nil, fmt.Errorf("line %d belongs to no field", i+1)
			}
		default:
			name, value, found := strings.Cut(content, ":")
			field = strings.ToLower(name)
			if _, twice := fields[field]; !found || name == "" || twice {
				return nil, fmt.Errorf("line %d is no field, or one that is there twice", i+1)
			}
			fields[field] = strings.TrimSpace(value)
			continue
		}
		entry, ok, err := parseUploadLine(field, content)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if ok {
			entry.line = i
			list.entries = append(list.entries, entry)
			files[field] = append(files[field], entry.name)
		}
	}
	if versions := uploadVersions[extension]; len(versions) > 0 && !slices.Contains(versions, fields["format"]) {
		return nil, fmt.Errorf("its format %s is not known", strconv.QuoteToGraphic(fields["format"]))
	}
	return list, sameFiles(files)
}

// parseUploadLine reads a line that lists a file: digest, size, in the Files of a .changes section and
// priority, name. ok is false in other fields.
func parseUploadLine(field, line string) (entry listed, ok bool, err error) {
	kind := "md5"
	if field != "files" {
		if kind, ok = strings.CutPrefix(field, "checksums-"); !ok {
			return listed{}, false, nil
		}
	}
	words := strings.Fields(line)
	if listHashes[kind] == nil {
		return listed{}, false, fmt.Errorf("the digest %s is not known", strconv.QuoteToGraphic(kind))
	}
	if len(words) != 3 && (field != "files" || len(words) != 5) {
		return listed{}, false, errors.New("it lists no file")
	}
	name := words[len(words)-1]
	if _, err := strconv.ParseUint(words[1], 10, 63); err != nil || hashOfLength[len(words[0])] != kind || name != filepath.Base(name) {
		return listed{}, false, errors.New("it lists no file")
	}
	from := strings.Index(line, words[0])
	entry = listed{name: name, hash: kind, digest: span{from, from + len(words[0])}}
	from = entry.digest.to + strings.Index(line[entry.digest.to:], words[1])
	entry.size = span{from, from + len(words[1])}
	return entry, true, nil
}

// sameFiles checks that each field with digests lists the same files, each once.
func sameFiles(files map[string][]string) error {
	var first []string
	for _, names := range files {
		slices.Sort(names)
		if len(slices.Compact(slices.Clone(names))) != len(names) {
			return errors.New("it lists a file twice")
		}
		if first == nil {
			first = names
		}
		if !slices.Equal(first, names) {
			return errors.New("its fields with digests do not list the same files")
		}
	}
	if first == nil {
		return errors.New("it lists no file")
	}
	return nil
}

func uploadList(path string) (*listing, error) {
	u, err := readUpload(path)
	if err != nil {
		return nil, err
	}
	return u.listing, nil
}

// signUpload signs as debsign does: the text and an empty line, so that whoever reads the file as
// paragraphs finds the end of this one before the signature. The digests of what this call has
// signed are brought up to date first; a signature of this key that is not true any more goes.
func (s *Signer) signUpload(ctx context.Context, file, dir string) ([]Output, error) {
	u, err := readUpload(file)
	if err != nil {
		return nil, err
	}
	if u.signature != nil && !s.Replace {
		scratch := filepath.Join(dir, "verify")
		if err := os.Mkdir(scratch, 0o700); err != nil {
			return nil, err
		}
		ours := verification{&Verifier{PublicKey: s.OpenPGP.PublicKey, Environ: s.Environ}, scratch}
		err := ours.verifyClearSigned(ctx, u.signature)
		if _, missing := errors.AsType[*MissingToolError](err); missing {
			return nil, err
		}
		if err != nil {
			others, err := fileSigners(file)
			if err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("it is signed by %s already; --existing replace takes that signature away", signerNames(others))
		}
	}
	renewed, err := s.Lists.compare(ctx, file, u.listing, true)
	if err != nil {
		return nil, err
	}
	s.Lists.tellRenewed(renewed)
	text := filepath.Join(dir, "input")
	if err := os.WriteFile(text, []byte(strings.TrimRight(u.text(), "\n")+"\n\n"), 0o600); err != nil {
		return nil, err
	}
	// SHA-512 as for InRelease: archives refuse SHA-1 whatever the key prefers.
	return s.gpg(ctx, text, dir, filepath.Base(file), "--digest-algo", "SHA512", "--clear-sign")
}

func (v verification) verifyUpload(ctx context.Context, file, _ string) error {
	u, err := readUpload(file)
	if err != nil {
		return err
	}
	if u.signature == nil {
		return ErrUnsigned
	}
	if err := v.verifyClearSigned(ctx, u.signature); err != nil || v.Lists.checked {
		return err
	}
	_, err = v.Lists.compare(ctx, file, u.listing, false)
	return err
}

// withUploadParts adds what an upload's control files list of others that are signed, as debsign
// does: who names a .changes means its .dsc and its .buildinfo, too. They come before it.
func withUploadParts(paths []string) []string {
	var all []string
	seen := map[string]bool{} // also those whose parts are being looked at
	var add func(path string)
	add = func(path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		for _, name := range uploadParts(path) {
			part := resolved(filepath.Join(filepath.Dir(path), name))
			if _, err := os.Stat(part); err == nil {
				add(part)
			}
		}
		all = append(all, path)
	}
	for _, path := range paths {
		add(path)
	}
	return all
}

// uploadParts are the control files that another one lists. What cannot be read fails when it is
// signed or verified.
func uploadParts(path string) []string {
	if uploadVersions[filepath.Ext(path)] == nil {
		return nil
	}
	if kind, err := Detect(path); err != nil || kind != DebianUpload {
		return nil
	}
	list, err := uploadList(path)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(list.names(), func(name string) bool { return !isUploadPart(name) })
}
