// Package cli is the operator's command line: it lists keys, signs hashes and files, hands out
// certificates and the names other tools know a key by, and prepares gpg. There is a file for
// each command.
package cli

import (
	"context"
	"errors"
	"os"
	"syscall"

	"signkit/internal/process"
)

// Main runs the command that the process's arguments name and returns its exit code, which
// `signkit help exit-codes` explains.
func Main() int {
	process.Protect()
	ctx, stop := endedBySignals()
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdout := &stream{file: os.Stdout, end: cancel}
	a := newApp(os.Environ(), workingDirectory(), os.Stdin, stdout, &stream{file: os.Stderr, end: cancel})
	defer a.close()
	root := newRootCommand(a)
	root.SetArgs(os.Args[1:])
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = stdout.failure()
	}
	if err == nil {
		return exitOK
	}
	if status, ok := err.(commandStatus); ok {
		return int(status) // the command has said why
	}
	if stdout.failure() == nil || !errors.Is(err, syscall.EPIPE) { // `signkit policies | head -1` needs no words
		a.ui.fail(err)
	}
	return exitCodeOf(err)
}

// workingDirectory is "/" where there is none, as in a folder that was deleted: only relative
// paths need it, and those then name the file they cannot find.
func workingDirectory() string {
	dir, err := os.Getwd()
	if err != nil {
		return "/"
	}
	return dir
}
