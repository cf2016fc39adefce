// Command notation-signkit is the plugin "signkit" of Notary Project's notation: notation sign
// --plugin signkit --id PROJECT/POLICY. It lies, under this name, in notation's folder
// plugins/signkit.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"signkit/internal/notation"
)

func main() {
	// The token is in this process's memory: no core dumps, no debugger of the same user.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	log.SetOutput(io.Discard) // where GODEBUG says http2debug, net/http prints headers there, and the token with them
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	directory, err := os.Getwd()
	if err != nil {
		directory = "/"
	}
	plugin := notation.Plugin{
		Program: os.Args[0], Environ: os.Environ(), Directory: directory, Parent: os.Getppid(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	code := plugin.Run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
