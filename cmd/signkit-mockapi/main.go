// Signkit-mockapi is a local signing service for development and tests. It
// protects nothing: its keys are plain files and its admin side is open.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"signkit/internal/version"
)

const usage = `A local signing service for development and tests.

Usage:
  signkit-mockapi serve [flags]    run the service until SIGTERM or SIGINT
  signkit-mockapi health [flags]   exit 0 if the service with that state folder answers
  signkit-mockapi --version

signkit-mockapi COMMAND --help shows the flags of a command.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "signkit-mockapi:", err)
		stop()
		os.Exit(1)
	}
}

// run is the program without its process: it ends when ctx does.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return errors.New("a command is missing: serve or health (--help explains them)")
	}
	switch args[0] {
	case "serve":
		return serveCommand(ctx, args[1:], stdout, stderr)
	case "health":
		return healthCommand(ctx, args[1:], stdout)
	case "--version":
		fmt.Fprintln(stdout, "signkit-mockapi", version.Version)
		return nil
	case "--help", "-h", "help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	return fmt.Errorf("unknown command %q: it is serve or health (--help explains them)", args[0])
}
