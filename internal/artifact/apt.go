package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
)

var aptReleaseFormat = format{
	kind: AptRelease, openPGP: true,
	facts: Facts{
		Files: "Release of an apt repository", Tool: "gpg", Judge: "gpgv",
		Versions: "GnuPG 2.2 or later",
		Keys:     "RSA, ECDSA; apt of Debian 13 rejects SHA-1 in the key's self-signature",
		Several:  "refused unless --existing allows it",
		Limits:   "the files it lists must be present and match",
	},
	beside: func(name string) []string {
		if name == "InRelease" { // see WithInRelease
			return nil
		}
		return []string{"InRelease", "Release.gpg"}
	},
	match: func(c *candidate) bool { return c.name == "Release" && isAptRelease(c.head) },
	sign:  (*Signer).signAptRelease,
	signers: func(v verification, ctx context.Context, file, dir string) ([]signer, error) {
		if filepath.Base(file) == "InRelease" {
			return fileSigners(file)
		}
		if v.takesInRelease(dir) {
			return fileSigners(filepath.Join(dir, "InRelease"))
		}
		return fileSigners(filepath.Join(dir, "Release.gpg"))
	},
	verify: verification.verifyAptRelease,
}

// isAptRelease looks for a field that a suite's Release has (apt-secure(8)), and that of one of its
// components has not.
func isAptRelease(head []byte) bool {
	return hasField(head, "Suite", "Codename", "MD5Sum", "SHA1", "SHA256", "SHA512", "Date")
}

// isComponentRelease knows the Release of a component: apt takes its digest from the suite's, and
// looks for no signature beside it.
func isComponentRelease(head []byte) bool { return hasField(head, "Component", "Architecture") }

// hasField looks for fields as deb822(5) reads them: the case of their names does not matter.
func hasField(head []byte, fields ...string) bool {
	for line := range bytes.Lines(head) {
		name, _, found := bytes.Cut(line, []byte(":"))
		if found && slices.ContainsFunc(fields, func(field string) bool { return strings.EqualFold(field, string(name)) }) {
			return true
		}
	}
	return false
}

// signAptRelease makes both signatures that clients look for (apt-secure(8)). SHA-512, since
// apt refuses SHA-1 whatever the key prefers.
func (s *Signer) signAptRelease(ctx context.Context, file, dir string) ([]Output, error) {
	if err := checkAptRelease(ctx, file); err != nil { // before a signature is asked for
		return nil, err
	}
	inline, err := s.gpg(ctx, file, dir, "InRelease", "--digest-algo", "SHA512", "--clear-sign")
	if err != nil {
		return nil, err
	}
	detached, err := s.gpg(ctx, file, dir, "Release.gpg", "--digest-algo", "SHA512", "--armor", "--detach-sign")
	return append(inline, detached...), err
}

// WithInRelease makes jobs of those files that are an InRelease and were left out as a signature: as it holds what it is the
// signature of, it can be verified without its Release. One that was left out since Release is named stays so.
func WithInRelease(jobs []Job, leftOut []*LeftOutError) ([]Job, []*LeftOutError) {
	var rest []*LeftOutError
	for _, file := range leftOut {
		info, err := os.Stat(file.File)
		if file.Expected || filepath.Base(file.File) != "InRelease" || err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
			rest = append(rest, file)
			continue
		}
		jobs = append(jobs, Job{file.File, AptRelease})
	}
	return jobs, rest
}

// takesInRelease reports whether a folder has the one signature of a Release and not the other, and that will do.
func (v *Verifier) takesInRelease(dir string) bool {
	_, inline := os.Stat(filepath.Join(dir, "InRelease"))
	_, detached := os.Stat(filepath.Join(dir, "Release.gpg"))
	return v.InReleaseAlone && inline == nil && errors.Is(detached, os.ErrNotExist)
}

// verifyAptRelease checks both signatures, that InRelease says what Release says, and that this is true. An InRelease that is
// named itself is judged by what it holds.
func (v verification) verifyAptRelease(ctx context.Context, file, dir string) error {
	if filepath.Base(file) == "InRelease" {
		message, err := readInRelease(file)
		if err != nil {
			return err
		}
		if err := v.verifyClearSigned(ctx, message); err != nil {
			return err
		}
		return checkReleaseFiles(ctx, string(message.Plaintext), filepath.Dir(file))
	}
	release, err := readIndex(file)
	if err != nil {
		return err
	}
	message, err := readInRelease(filepath.Join(dir, "InRelease"))
	if err != nil {
		return err
	}
	// A clear-signed text loses the blanks at the ends of its lines (RFC 4880, section 7.1).
	if trimLines(string(message.Plaintext)) != trimLines(string(release)) {
		return errors.New("InRelease is the signature of another Release")
	}
	if !v.takesInRelease(dir) {
		if err := v.verifyDetachedFile(ctx, filepath.Join(dir, "Release.gpg"), file); err != nil {
			return err
		}
	}
	if err := v.verifyClearSigned(ctx, message); err != nil {
		return fmt.Errorf("InRelease: %w", err)
	}
	return checkAptRelease(ctx, file)
}

// readInRelease takes a clear-signed file that is nothing but a Release and its signature: a client
// may read more of it than gpgv does.
func readInRelease(path string) (*clearsign.Block, error) {
	data, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	block, err := clearSigned(data)
	if err != nil {
		return nil, fmt.Errorf("InRelease %w", err)
	}
	return block, nil
}

// checkAptRelease checks the files that a Release lists.
func checkAptRelease(ctx context.Context, path string) error {
	data, err := readIndex(path)
	if err != nil {
		return err
	}
	return checkReleaseFiles(ctx, string(data), filepath.Dir(path))
}

// checkReleaseFiles checks each file that a Release lists with the strongest of its digests. As apt reads it, a file may be there
// in one compression only; it must be there in one (Debian wiki, "RepositoryFormat").
func checkReleaseFiles(ctx context.Context, release, folder string) error {
	list, err := parseRelease(release)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return &StaleError{"Release lists no file"}
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	present, absent := map[string]bool{}, map[string]string{}
	for name, listed := range list {
		err := checkListed(ctx, root, name, listed.kind, listed.sum)
		stem := strings.TrimSuffix(name, compression(name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			absent[stem] = name
		case err != nil:
			return err
		default:
			present[stem] = true
		}
	}
	for stem, name := range absent {
		if !present[stem] {
			return &StaleError{name + " is not there"}
		}
	}
	return nil
}

// compression is the ending of an index that apt can unpack.
func compression(name string) string {
	for _, ending := range []string{".gz", ".xz", ".bz2", ".lzma", ".zst", ".lz4"} {
		if strings.HasSuffix(name, ending) {
			return ending
		}
	}
	return ""
}

// releaseFields are those of a Release that list files, in lower case, the strongest digest first.
var releaseFields = []string{"sha512", "sha256", "sha1", "md5sum"}

// releaseDigest is what a Release says of a file.
type releaseDigest struct{ kind, sum string }

// parseRelease reads the one paragraph of a Release strictly: nothing in it can be taken for two things. What it lists is the
// strongest digest of each file, by name; not of itself and its signatures: apt-ftparchive lists what it is writing.
func parseRelease(release string) (map[string]releaseDigest, error) {
	fields := map[string]bool{}
	lists := map[string]map[string]string{} // by field: name to digest
	field, ended, number := "", false, 0
	for line := range strings.Lines(release) {
		number++
		content := strings.TrimRight(line, " \t\r\n")
		switch {
		case content == "":
			ended = len(fields) > 0
			continue
		case ended:
			return nil, errors.New("the Release file has more than one paragraph")
		case content[0] != ' ' && content[0] != '\t':
			name, _, found := strings.Cut(content, ":")
			field = strings.ToLower(strings.TrimRight(name, " \t"))
			if !found || fields[field] {
				return nil, fmt.Errorf("line %d of Release is no field, or one that is there twice", number)
			}
			fields[field] = true
			continue
		case !slices.Contains(releaseFields, field):
			continue
		}
		words := strings.Fields(content) // digest, size, name
		if len(words) != 3 {
			return nil, fmt.Errorf("line %d of Release lists no file", number)
		}
		if lists[field] == nil {
			lists[field] = map[string]string{}
		}
		if sum, twice := lists[field][words[2]]; twice && !strings.EqualFold(sum, words[0]) {
			return nil, fmt.Errorf("line %d of Release lists a file twice, with two digests", number)
		}
		lists[field][words[2]] = words[0]
	}
	strongest := map[string]releaseDigest{}
	for _, field := range slices.Backward(releaseFields) {
		for name, sum := range lists[field] {
			strongest[name] = releaseDigest{field, sum}
		}
	}
	for _, own := range []string{"Release", "InRelease", "Release.gpg"} {
		delete(strongest, own)
	}
	return strongest, nil
}

func trimLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\r")
	}
	return strings.Join(lines, "\n")
}
