// Command notation-signkit is the plugin "signkit" of Notary Project's notation: notation sign
// --plugin signkit --id PROJECT/POLICY. It lies, under this name, in notation's folder
// plugins/signkit.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"signkit/internal/notation"
	"signkit/internal/process"
)

func main() {
	process.Protect()
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
