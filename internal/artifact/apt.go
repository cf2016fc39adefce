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
		Keys:     "RSA, ECDSA; apt of Debian 13 takes no SHA-1 in the key's self-signature",
		Several:  "refused unless --existing says more",
		Limits:   "the files it lists must be there and as listed",
	},
	beside: func(string) []string { return []string{"InRelease", "Release.gpg"} },
	match:  func(c *candidate) bool { return c.name == "Release" && isAptRelease(c.head) },
	sign:   (*Signer).signAptRelease,
	signers: func(v verification, ctx context.Context, file, dir string) ([]signer, error) {
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

func hasField(head []byte, fields ...string) bool {
	for line := range bytes.Lines(head) {
		if field, _, found := bytes.Cut(line, []byte(":")); found && slices.Contains(fields, string(field)) {
			return true
		}
	}
	return false
}

// signAptRelease makes both signatures that clients look for (apt-secure(8)). SHA-512, since
// apt refuses SHA-1 whatever the key prefers.
func (s *Signer) signAptRelease(ctx context.Context, file, dir string) ([]Output, error) {
	if err := checkAptRelease(file); err != nil { // before a signature is asked for
		return nil, err
	}
	inline, err := s.gpg(ctx, file, dir, "InRelease", "--digest-algo", "SHA512", "--clear-sign")
	if err != nil {
		return nil, err
	}
	detached, err := s.gpg(ctx, file, dir, "Release.gpg", "--digest-algo", "SHA512", "--armor", "--detach-sign")
	return append(inline, detached...), err
}

// verifyAptRelease checks both signatures, and that InRelease says what Release says.
func (v verification) verifyAptRelease(ctx context.Context, file, dir string) error {
	detached, inline := filepath.Join(dir, "Release.gpg"), filepath.Join(dir, "InRelease")
	release, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	message, err := readInRelease(inline, release)
	if err != nil {
		return err
	}
	if err := v.verifyDetachedFile(ctx, detached, file); err != nil {
		return err
	}
	if err := v.verifyClearSigned(ctx, message); err != nil {
		return fmt.Errorf("InRelease: %w", err)
	}
	return checkAptRelease(file)
}

// readInRelease takes a clear-signed file that is nothing but Release and its signature: a client
// may read more of it than gpgv does.
func readInRelease(path string, release []byte) (*clearsign.Block, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, err := clearSigned(data)
	if err != nil {
		return nil, fmt.Errorf("InRelease %w", err)
	}
	// A clear-signed text loses the blanks at the ends of its lines (RFC 4880, section 7.1).
	if trimLines(string(block.Plaintext)) != trimLines(string(release)) {
		return nil, errors.New("InRelease is the signature of another Release")
	}
	return block, nil
}

// checkAptRelease checks the files of the strongest list of digests. As apt reads it, a file may
// be there in one compression only; it must be there in one (Debian wiki, "RepositoryFormat").
func checkAptRelease(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	kind, list := strongestList(string(data))
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	present, absent := map[string]bool{}, map[string]string{}
	for name, sum := range list {
		if slices.Contains([]string{"Release", "InRelease", "Release.gpg"}, name) {
			continue // apt-ftparchive lists what it is writing, and what is signed afterwards
		}
		err := checkListed(root, name, kind, sum)
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

// strongestList is the list of the strongest digest in a Release: name to digest. Empty where
// there is none.
func strongestList(release string) (kind string, list map[string]string) {
	rank := map[string]int{"SHA512": 4, "SHA256": 3, "SHA1": 2, "MD5Sum": 1}
	lists := map[string]map[string]string{}
	field := ""
	for line := range strings.Lines(release) {
		if line[0] != ' ' && line[0] != '\t' {
			field, _, _ = strings.Cut(line, ":")
			continue
		}
		words := strings.Fields(line)
		if rank[field] == 0 || len(words) != 3 { // digest, size, name
			continue
		}
		if lists[field] == nil {
			lists[field] = map[string]string{}
		}
		lists[field][words[2]] = words[0]
	}
	for field, files := range lists {
		if rank[field] > rank[kind] {
			kind, list = field, files
		}
	}
	return kind, list
}

func trimLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\r")
	}
	return strings.Join(lines, "\n")
}
