package mockapi

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// stateDir is the folder in which the service keeps what must survive a
// restart: keys and certificates (folder keys, mode 0700, files 0600), the
// identities it made up, and the files it writes for others.
type stateDir struct {
	path string

	mu       sync.Mutex
	identity map[string]string // what "generate" stood for, by place in the configuration
}

const identityFile = "keys/identity.json"

func openState(path string) (*stateDir, error) {
	if path == "" {
		return nil, errors.New("no state folder given (--state)")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("making the state folder (--state): %w", err)
	}
	if err := os.MkdirAll(filepath.Join(path, "keys"), 0o700); err != nil {
		return nil, fmt.Errorf("making the state folder (--state): %w", err)
	}
	s := &stateDir{path: path, identity: map[string]string{}}
	data, err := s.read(identityFile)
	if err != nil || data == nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s.identity); err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.file(identityFile), err)
	}
	return s, nil
}

func (s *stateDir) file(name string) string { return filepath.Join(s.path, name) }

// read returns nil without an error for a file that is not there.
func (s *stateDir) read(name string) ([]byte, error) {
	data, err := os.ReadFile(s.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// write replaces a file in one step, so that nobody reads half of it.
func (s *stateDir) write(name string, data []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(s.file(name)), ".new-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", s.file(name), err)
	}
	_, werr := tmp.Write(data)
	err = errors.Join(werr, tmp.Chmod(mode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), s.file(name))
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("writing %s: %w", s.file(name), err)
	}
	return nil
}

// resolve returns value, or for "generate" what was made up for that place the first time.
func (s *stateDir) resolve(place, value string, invent func() string) (string, error) {
	if value != generate {
		return value, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.identity[place]; kept != "" {
		return kept, nil
	}
	s.identity[place] = invent()
	data, err := json.MarshalIndent(s.identity, "", "  ")
	if err != nil {
		return "", err
	}
	return s.identity[place], s.write(identityFile, data, 0o600)
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newToken returns 44 characters of base64 text that contain '+', '/' and '=',
// as tokens of a real service may: what breaks on them should break here.
func newToken() string {
	for {
		var b [32]byte
		rand.Read(b[:])
		if t := base64.StdEncoding.EncodeToString(b[:]); strings.Contains(t, "+") && strings.Contains(t, "/") {
			return t
		}
	}
}
