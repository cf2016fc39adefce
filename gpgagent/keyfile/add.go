package keyfile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

const (
	lockTime = 30 * time.Second // for others that add an entry, which takes them milliseconds
	lockPoll = 5 * time.Millisecond
)

// Add writes an entry into the file, which it creates when missing. An entry of
// the same source is replaced, in its place. A keygrip that belongs to another
// source is refused with an error that names that one: GnuPG knows keys by
// their keygrip alone, so only one of the two could ever sign.
//
// Add may be called by several processes at a time; a reader sees the list
// before or after, never a part of it.
func Add(path string, e Entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), lockTime)
	defer cancel()
	return add(ctx, path, e)
}

func add(ctx context.Context, path string, e Entry) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("adding to the key list: %w", err)
	}
	// The list itself is replaced, so it cannot carry the lock.
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return fmt.Errorf("waiting for another process to leave the key list %s: %w", path, err)
	}
	defer lock.Close() // the file stays: a waiting process holds it open
	f, err := Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = new(File), nil
	}
	if err != nil {
		return err
	}
	if err := f.put(e); err != nil {
		return err
	}
	return f.write(path)
}

// put replaces the entry of the same source or appends a new one.
func (f *File) put(e Entry) error {
	place := -1
	for i, old := range f.Keys {
		switch {
		case old.sameSource(e):
			place = i
		case old.Keygrip == e.Keygrip:
			return fmt.Errorf("%s has the same key as %s (keygrip %s), which is in this GNUPGHOME already; "+
				"sign with that one, or use another GNUPGHOME for %s", e.ID(), old.ID(), e.Keygrip, e.ID())
		}
	}
	if place < 0 {
		f.Keys = append(f.Keys, e)
		return nil
	}
	f.Keys[place] = e
	return nil
}

// sameSource reports whether both entries name the same key in the same place.
// Another PIN file does not make another key.
func (e Entry) sameSource(other Entry) bool {
	if e.SignPath != nil && other.SignPath != nil {
		return *e.SignPath == *other.SignPath
	}
	if e.PKCS11 == nil || other.PKCS11 == nil {
		return false
	}
	a, b := *e.PKCS11, *other.PKCS11
	a.PINFile, b.PINFile = "", ""
	return a == b
}

func (f *File) write(path string) error {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the key list: %w", err)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return fmt.Errorf("writing the key list: %w", err)
	}
	defer os.Remove(temp.Name()) // fails once it is renamed
	_, err = temp.Write(append(data, '\n'))
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the key list: %w", err)
	}
	return nil
}
