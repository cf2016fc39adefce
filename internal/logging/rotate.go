package logging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/gofrs/flock"
)

const (
	rotateAt  = 10 << 20 // bytes
	oldCopies = 5
)

// rotatingFile is a log file that many processes append to and any of them rotates:
// FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on up to FILE.5.
//
// Each record is one write(2) on a descriptor opened with O_APPEND, which the kernel
// does as a whole. Before each one the file's name is compared with the descriptor, so
// that a file rotated by another process is left; a record that still reaches the old
// file stands at its end. Only rotating takes a lock, and never waits for it: who does
// not get it appends, since somebody else is rotating.
type rotatingFile struct {
	path  string
	limit int64

	mu     sync.Mutex
	file   *os.File
	closed bool
	torn   bool // the last record was written in part: begin the next on a new line
}

// openFile opens the log file of one interface, and creates directory and file.
func openFile(directory, name string) (*rotatingFile, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("creating the log directory: %w", err)
	}
	f := &rotatingFile{path: filepath.Join(directory, "SignPath.CryptoProviders."+name+".txt"), limit: rotateAt}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	return f, nil
}

// write appends one record. A file that cannot be rotated goes on growing: the error is
// returned, the record written.
func (f *rotatingFile) write(line []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	info, err := f.current()
	if err != nil {
		return err
	}
	var rotating error
	if info.Size() > 0 && info.Size()+int64(len(line)) > f.limit {
		rotating = f.rotate()
		if _, err := f.current(); err != nil {
			return err
		}
	}
	return errors.Join(rotating, f.appendNamed(line))
}

// appendNamed appends a record to a file that has a name: five rotations while this
// process was stopped between look and write would leave it in one without.
func (f *rotatingFile) appendNamed(line []byte) error {
	if err := f.append(line); err != nil || !f.unlinked() {
		return err
	}
	if err := f.reopen(); err != nil {
		return err
	}
	return f.append(line)
}

// current sees to it that the descriptor is the named file, as far as can be known: when
// another process rotates it just now, the record goes to the end of the old copy.
func (f *rotatingFile) current() (fs.FileInfo, error) {
	if info, same := f.stat(); same {
		return info, nil
	}
	if err := f.reopen(); err != nil {
		return nil, err
	}
	return f.file.Stat()
}

// stat looks at the named file and reports whether the descriptor is open on it.
func (f *rotatingFile) stat() (fs.FileInfo, bool) {
	if f.file == nil {
		return nil, false
	}
	named, err := os.Lstat(f.path)
	if err != nil {
		return nil, false
	}
	opened, err := f.file.Stat()
	return named, err == nil && os.SameFile(named, opened)
}

func (f *rotatingFile) unlinked() bool {
	info, err := f.file.Stat()
	if err != nil {
		return false
	}
	status, ok := info.Sys().(*syscall.Stat_t)
	return ok && status.Nlink == 0
}

// append is one write(2), so that records of several processes do not mix.
func (f *rotatingFile) append(line []byte) error {
	if f.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := f.file.Write(line)
	f.torn = n > 0 && n < len(line) || f.torn && n == 0
	return err
}

// reopen opens the named file, and refuses what is no plain file: in a directory that
// others can write to, a link would direct the records elsewhere.
func (f *rotatingFile) reopen() error {
	if f.file != nil {
		_ = f.file.Close() // nothing is buffered
		f.file = nil
	}
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	file, err := os.OpenFile(f.path, flags, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return fmt.Errorf("log file %s is a symbolic link; remove it", f.path)
	}
	if err != nil {
		return fmt.Errorf("opening the log file: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("log file %s is not a regular file; remove it", f.path)
	}
	if err != nil {
		_ = file.Close()
		return err
	}
	f.file = file
	return nil
}

// rotate moves the copies up by one, unless another process is doing or has done it.
func (f *rotatingFile) rotate() error {
	lock := flock.New(f.path+".lock", flock.SetPermissions(0o600),
		flock.SetFlag(os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK))
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("rotating the log file: %w", err)
	}
	defer lock.Close()
	if !locked {
		return nil
	}
	if _, same := f.stat(); !same {
		return nil
	}
	for n := oldCopies - 1; n >= 0; n-- {
		if err := os.Rename(f.copyName(n), f.copyName(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotating the log file: %w", err)
		}
	}
	return nil
}

// copyName is FILE for 0 and FILE.n for the n-th old copy.
func (f *rotatingFile) copyName(n int) string {
	if n == 0 {
		return f.path
	}
	return f.path + "." + strconv.Itoa(n)
}

func (f *rotatingFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}
