package artifact

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// original is a file as it was before it was signed.
type original struct {
	path string
	info os.FileInfo
	sum  string // SHA-256, hex
}

func readOriginal(ctx context.Context, path string) (*original, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	sum, err := digestOf(ctx, file)
	return &original{path, info, sum}, err
}

// unchanged reports, as an error, that the name now leads to another file or to other content:
// what was signed is not what would be replaced.
func (o *original) unchanged(ctx context.Context) error {
	now, err := readOriginal(ctx, o.path)
	if err != nil {
		return err
	}
	if now.sum != o.sum || !os.SameFile(now.info, o.info) {
		return fmt.Errorf("%s changed while it was being signed; the result is not used", o.path)
	}
	return nil
}

// folder is one for results. It is opened before anything is signed, and everything happens below that
// descriptor: whoever puts another folder or a link in its place meanwhile changes nothing there.
type folder struct {
	*os.Root
	path string
}

func openFolder(path string) (*folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &folder{root, path}, nil
}

// unmoved reports, as an error, that the path leads to another folder by now.
func (f *folder) unmoved() error {
	opened, err := f.Stat(".")
	if err != nil {
		return err
	}
	now, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	if !os.SameFile(opened, now) {
		return fmt.Errorf("another folder has taken the place of %s during signing; the result is not used", f.path)
	}
	return nil
}

// place gives the results their names in the folder, each in one step: with what the original
// allows to whom, and on the disk before the name is.
func place(ctx context.Context, outputs []Output, o *original, into *folder) error {
	staged := make([]string, len(outputs)) // hidden, and with no ending that would make them packages
	defer func() {
		for _, name := range staged {
			if name != "" {
				_ = into.Remove(name)
			}
		}
	}()
	for i, output := range outputs {
		staged[i] = ".signkit-" + rand.Text()
		if err := stage(ctx, into.Root, staged[i], output.Path, o); err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Join(into.path, output.Name), err)
		}
	}
	for _, output := range outputs {
		if info, err := into.Lstat(output.Name); err == nil && info.IsDir() { // before any result takes its name
			return fmt.Errorf("%s is a folder", filepath.Join(into.path, output.Name))
		}
	}
	if err := into.unmoved(); err != nil {
		return err
	}
	if err := o.unchanged(ctx); err != nil {
		return err
	}
	for i, output := range outputs {
		if err := into.Rename(staged[i], output.Name); err != nil {
			return fmt.Errorf("putting the result into its place: %w", err)
		}
		staged[i] = ""
	}
	return syncFolder(into.Root)
}

// stage copies one result into the folder.
func stage(ctx context.Context, root *os.Root, name, from string, o *original) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, contextReader{ctx, in}); err != nil {
		return err
	}
	if err := inherit(out, o); err != nil {
		return err
	}
	return errors.Join(out.Sync(), out.Close())
}

// contentAttributes are digests and signatures of the content by the kernel's integrity subsystem:
// wrong for any other content, and with them it could not be opened.
var contentAttributes = []string{"security.ima", "security.evm"}

// inherit gives a result the owner, the mode, the access list and the extended attributes of the
// original: in a container root signs what a user of the host has built.
func inherit(out *os.File, o *original) error {
	if owner, ok := o.info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := out.Chown(int(owner.Uid), int(owner.Gid)); err != nil && !errors.Is(err, syscall.EPERM) {
			return err
		}
	}
	if err := out.Chmod(o.info.Mode().Perm()); err != nil {
		return err
	}
	in, err := os.Open(o.path)
	if err != nil {
		return err
	}
	defer in.Close()
	list := make([]byte, 64<<10) // the kernel's limit
	n, err := unix.Flistxattr(int(in.Fd()), list)
	if err != nil {
		return nil // a file system without them
	}
	for name := range bytes.SplitSeq(list[:n], []byte{0}) {
		value := make([]byte, 64<<10)
		size, err := unix.Fgetxattr(int(in.Fd()), string(name), value)
		if len(name) == 0 || err != nil || slices.Contains(contentAttributes, string(name)) {
			continue
		}
		// Some are the system's to set, and the folder's file system may not take others.
		_ = unix.Fsetxattr(int(out.Fd()), string(name), value[:size], 0)
	}
	return nil
}

func syncFolder(root *os.Root) error {
	folder, err := root.Open(".")
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // not every file system can
		return err
	}
	return nil
}

// copyFile copies the content, for its owner alone to read and change.
func copyFile(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, contextReader{ctx, in}); err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return out.Close()
}

func digest(ctx context.Context, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	return digestOf(ctx, file)
}

func digestOf(ctx context.Context, content io.Reader) (string, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, contextReader{ctx, content}); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// contextReader ends with its context: a file can be large, or on a network.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx) // says which limit it was
	}
	return r.Reader.Read(p)
}
