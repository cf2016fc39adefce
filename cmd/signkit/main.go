// Command signkit is the operator's command line: it lists keys, signs hashes, hands out
// certificates and the names other tools know a key by, and prepares gpg.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run is main with its deferred calls done before the process ends.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	a := newApp(os.Environ(), workingDirectory(), os.Stdin, os.Stdout, os.Stderr)
	defer a.close()
	root := newRootCommand(a)
	root.SetArgs(os.Args[1:])
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	a.ui.fail(err)
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
