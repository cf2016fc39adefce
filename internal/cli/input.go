package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// readInput reads a file, a pipe, or with "-" standard input, until it or ctx ends: whoever writes
// into a pipe may never come.
func (a *app) readInput(ctx context.Context, path string) ([]byte, error) {
	type content struct {
		data []byte
		err  error
	}
	done := make(chan content, 1)
	go func() {
		var c content
		if path == "-" {
			c.data, c.err = io.ReadAll(a.stdin)
		} else {
			c.data, c.err = os.ReadFile(a.absolute(path))
		}
		done <- c
	}()
	select {
	case c := <-done:
		return c.data, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// keepInput returns a path at which tools can read a file as often as they like. What comes through
// a pipe, as <(…) of a shell does, can be read once: it is copied into a folder that remove removes.
func (a *app) keepInput(ctx context.Context, path string) (kept string, remove func(), err error) {
	remove = func() {}
	if path == "" {
		return "", remove, nil
	}
	path = a.absolute(path)
	info, err := os.Stat(path)
	if err != nil {
		return "", remove, err
	}
	if info.Mode().IsRegular() && !strings.HasPrefix(path, "/dev/") && !strings.HasPrefix(path, "/proc/") {
		file, err := os.Open(path) // what cannot be read is named now
		if err != nil {
			return "", remove, err
		}
		return path, remove, file.Close()
	}
	data, err := a.readInput(ctx, path)
	if err != nil {
		return "", remove, err
	}
	folder, err := os.MkdirTemp(a.environment("TMPDIR"), "signkit-")
	if err != nil {
		return "", remove, fmt.Errorf("creating a folder for what came through %s: %w", path, err)
	}
	remove = func() { os.RemoveAll(folder) }
	kept = filepath.Join(a.absolute(folder), "input")
	return kept, remove, os.WriteFile(kept, data, 0o600)
}

// filesFlag gives a verb --files-from.
func filesFlag(cmd *cobra.Command, list *string) {
	cmd.Flags().StringVar(list, "files-from", "", "also the files listed in `FILE` (- is standard input), one per line or NUL-separated")
}

// namedFiles are the arguments and those that a list names.
func (a *app) namedFiles(ctx context.Context, list string, args []string) ([]string, error) {
	if list == "" {
		if len(args) == 0 {
			return nil, withHint(usageError("no file is named"), "name files, or a list of them with --files-from")
		}
		return args, nil
	}
	data, err := a.readInput(ctx, list)
	if err != nil {
		return args, withCode(exitUsage, fmt.Errorf("--files-from: %w", err))
	}
	files := append(args[:len(args):len(args)], splitNames(string(data))...)
	if len(files) == 0 {
		return nil, usageError("--files-from %s: the list is empty, and no file is named with it", list)
	}
	return files, nil
}

// splitNames takes a list of names apart. One with a NUL has NULs between its names, which then may
// hold anything else. Else each line is a name; as in lists that git reads, a carriage return before
// the line feed belongs to the end of the line. Empty lines name nothing.
func splitNames(list string) []string {
	separator := "\n"
	if strings.Contains(list, "\x00") {
		separator = "\x00"
	}
	var names []string
	for name := range strings.SplitSeq(list, separator) {
		if separator == "\n" {
			name = strings.TrimSuffix(name, "\r")
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
