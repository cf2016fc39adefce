// Command signkit-scdaemon is the card daemon that gpg-agent starts where
// gpg-agent.conf says so (scdaemon-program): it shows the keys of one GNUPGHOME,
// which lie with the signing service or behind a PKCS#11 module, as a smart card.
//
// Its standard input and output are the protocol; it writes nothing else there
// and nothing to standard error. Its log is in the GNUPGHOME.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"signkit/internal/process"
	"signkit/internal/version"
)

func main() {
	options := parse(os.Args[1:], os.Environ())
	switch {
	case options.help != "":
		fmt.Print(options.help)
		return
	case options.version:
		fmt.Println("signkit-scdaemon", version.Version)
		return
	}
	process.Protect()
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP) // a closed pipe must be an error, not the end
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	b := newBridge(options, os.Environ())
	defer b.close()
	b.serve(ctx, os.Stdin, os.Stdout)
}
