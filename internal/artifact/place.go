package artifact

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// place gives the results their names. They belong to whoever owns the file: in a container
// root signs what a user of the host has built.
func place(outputs []Output, file, folder string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	for _, output := range outputs {
		if err := os.Chmod(output.Path, info.Mode().Perm()); err != nil {
			return err
		}
		if known && os.Geteuid() == 0 {
			if err := os.Chown(output.Path, int(owner.Uid), int(owner.Gid)); err != nil && !errors.Is(err, syscall.EPERM) {
				return err
			}
		}
		if err := os.Rename(output.Path, filepath.Join(folder, output.Name)); err != nil {
			return fmt.Errorf("putting the result into its place: %w", err)
		}
	}
	return nil
}

// copyFile copies content and permissions.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	// The umask must not take away what the original allows.
	if err := out.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	return out.Close()
}

func keepMode(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return os.Chmod(to, info.Mode().Perm())
}
