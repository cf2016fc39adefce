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
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

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

// readAtOnce opens a file for reading, and does not wait where it is a pipe that nobody writes to.
const readAtOnce = os.O_RDONLY | syscall.O_NONBLOCK

// mostIndex is room for the indexes of a distribution, in bytes. What pretends to be longer would only fill the memory.
const mostIndex = 64 << 20

// readIndex reads a list or a signature as a whole: a regular file of a size that one has.
func readIndex(path string) ([]byte, error) {
	file, err := os.OpenFile(path, readAtOnce, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() > mostIndex {
		return nil, fmt.Errorf("%s is longer than the %d MB that are read of a list or a signature", path, mostIndex>>20)
	}
	return io.ReadAll(io.LimitReader(file, mostIndex))
}

// checkListed compares a file below root with its digest in a list: a *StaleError where it is
// another. A file that is not there is one that wraps os.ErrNotExist.
func checkListed(ctx context.Context, root *os.Root, name, kind, sum string) error {
	kind = strings.ToLower(kind)
	if listHashes[kind] == nil {
		return fmt.Errorf("%s is listed with the unknown digest %s", strconv.QuoteToGraphic(name), strconv.QuoteToGraphic(kind))
	}
	file, err := root.OpenFile(name, readAtOnce, 0)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", &StaleError{strconv.QuoteToGraphic(name) + " is not there"}, os.ErrNotExist)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", strconv.QuoteToGraphic(name))
	}
	m, err := measure(ctx, file, []string{kind})
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if !strings.EqualFold(m.sums[kind], sum) {
		return &StaleError{strconv.QuoteToGraphic(name) + " is not the file that is listed"}
	}
	return nil
}
