// Package gnupghome prepares a GNUPGHOME in which gpg signs with remote keys: the agent's
// configuration, key stubs, the list of keys that the bridge reads, the public keys, and an
// agent that runs in the caller's environment.
//
// The environment is where the API token is: nothing here writes it to a file.
package home

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"signkit/gpgagent/keyfile"
)

// LongestPath is how long a GNUPGHOME's path may be, in bytes. gpg-agent's longest socket
// there is S.gpg-agent.browser, in a sun_path of 108; some versions take one byte more. Beyond
// it gpg says "No agent running", and not why.
const LongestPath = 85

// temporaryMark is a file that says that signkit made the folder and may remove it.
const temporaryMark = "signkit-temporary"

// TrapFile is where the shell that evaluates our lines writes its traps, to read them.
const TrapFile = "signkit-traps"

// Home is a GNUPGHOME.
type Home struct {
	Dir       string // absolute
	Temporary bool   // made by Create: End removes it
}

// PathError says why a path cannot be a GNUPGHOME.
type PathError struct {
	Path   string
	Reason string
}

func (e *PathError) Error() string {
	return fmt.Sprintf("%q cannot be a GNUPGHOME: %s", e.Path, e.Reason)
}

func checkPath(dir string) error {
	if len(dir) > LongestPath {
		return &PathError{dir, fmt.Sprintf("the path has %d bytes; gpg-agent's sockets leave room for %d", len(dir), LongestPath)}
	}
	if strings.ContainsFunc(dir, unicode.IsControl) {
		return &PathError{dir, "the path has control characters"}
	}
	return nil
}

// Create makes a new GNUPGHOME below parent, for this user alone.
func Create(parent string) (*Home, error) {
	const name = "signkit-gpg."
	// MkdirTemp adds up to ten digits.
	if err := checkPath(filepath.Join(parent, name+"0123456789")); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, name)
	if err != nil {
		return nil, &PathError{parent, "making a folder there: " + reason(err)}
	}
	h := &Home{Dir: dir, Temporary: true}
	// The second is for the shell, whose umask may be anything.
	for _, name := range []string{temporaryMark, TrapFile} {
		if err := createFile(h.file(name), nil); err != nil {
			os.RemoveAll(dir)
			return nil, &PathError{dir, "writing there: " + reason(err)}
		}
	}
	return h, nil
}

// Open takes an existing folder as GNUPGHOME, or makes one of that name.
func Open(dir string) (*Home, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := checkPath(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, &PathError{dir, reason(err)}
	}
	return Find(dir)
}

// Find takes a folder that must exist.
func Find(dir string) (*Home, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, &PathError{dir, reason(err)}
	}
	if !info.IsDir() {
		return nil, &PathError{dir, "it is not a folder"}
	}
	h := &Home{Dir: dir}
	if _, err := os.Lstat(h.file(temporaryMark)); err == nil {
		h.Temporary = true
	}
	return h, nil
}

// reason is the error without the path, which the PathError names.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

func (h *Home) file(name string) string { return filepath.Join(h.Dir, name) }

// Keys lists the remote keys of this GNUPGHOME; none when signkit never prepared it.
func (h *Home) Keys() ([]keyfile.Entry, error) {
	list, err := keyfile.Load(h.file(keyfile.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return list.Keys, nil
}
