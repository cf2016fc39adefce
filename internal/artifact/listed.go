package artifact

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"os"
	"strconv"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// StaleError is the error for a list of digests, signed or to be signed, that is not true of the
// files it lists.
type StaleError struct {
	What string
}

func (e *StaleError) Error() string { return "stale: " + e.What }

// listHashes are the digests of lists by their names in lower case, as apt and createrepo_c write
// them. An old list with a weak digest is still the list that was signed.
var listHashes = map[string]func() hash.Hash{
	"md5": md5.New, "md5sum": md5.New, "sha": sha1.New, "sha1": sha1.New,
	"sha224": sha256.New224, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
	"blake2b": func() hash.Hash { h, _ := blake2b.New512(nil); return h }, // fails with a key that is too long
}

// checkListed compares a file below root with its digest in a list: a *StaleError where it is
// another. A file that is not there is one that wraps os.ErrNotExist.
func checkListed(root *os.Root, name, kind, sum string) error {
	kind = strings.ToLower(kind)
	if listHashes[kind] == nil {
		return fmt.Errorf("%s is listed with the unknown digest %s", strconv.QuoteToGraphic(name), strconv.QuoteToGraphic(kind))
	}
	file, err := root.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", &StaleError{strconv.QuoteToGraphic(name) + " is not there"}, os.ErrNotExist)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	m, err := measure(context.Background(), file, []string{kind})
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if !strings.EqualFold(m.sums[kind], sum) {
		return &StaleError{strconv.QuoteToGraphic(name) + " is not the file that is listed"}
	}
	return nil
}
