package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// write puts a result where --output says: a file, replaced in one step so that nobody reads
// half of it, or standard output for "" and "-".
func (a *app) write(path string, data []byte) error {
	return a.writeWithMode(path, data, 0o666&^umask())
}

// writePublic is write for what everybody is to read, whatever the umask is: apt reads its keys as a user of its own.
func (a *app) writePublic(path string, data []byte) error { return a.writeWithMode(path, data, 0o644) }

func (a *app) writeWithMode(path string, data []byte, mode os.FileMode) error {
	if path == "" || path == "-" {
		return a.ui.write(data)
	}
	if err := replaceFile(a.absolute(path), data, mode); err != nil {
		return withHint(fmt.Errorf("writing the result: %w", err), "--output names the file")
	}
	return nil
}

// absolute resolves a path against the directory the command was started in.
func (a *app) absolute(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(a.directory, path)
}

func replaceFile(path string, data []byte, mode os.FileMode) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		// A pipe or a device keeps its place.
		return os.WriteFile(path, data, mode)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, werr := tmp.Write(data)
	err = errors.Join(werr, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

// umask reads the process's mask. There is no call that only reads it, so this must not run
// while another goroutine makes files.
func umask() os.FileMode {
	mask := unix.Umask(0o077)
	unix.Umask(mask)
	return os.FileMode(mask) & 0o777
}
