// Command signkit-tokend is the token process behind the PKCS#11 module: the
// module starts one for each host process, passes it a socket and asks it
// everything. It ends with its host.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"signkit/internal/logging"
	"signkit/internal/version"
	"signkit/pkcs11/token"
	"signkit/pkcs11/wire"
)

func main() {
	if len(os.Args) > 1 { // the module passes no arguments
		os.Exit(byHand(os.Args[1:]))
	}
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, logging.Line("signkit-tokend: "+err.Error()))
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	control, err := token.OpenControl(wire.ControlFD)
	if err != nil {
		return err
	}
	directory := detach()
	stdout, err := control.Greet(version.Version)
	if errors.Is(err, token.ErrHostGone) {
		return nil
	}
	if err != nil {
		return err
	}
	t, finish := newToken(directory, control.Peer(), stdout)
	defer finish()
	t.Prepare()
	go watchHost(control.Peer())
	if err := control.Serve(ctx, t, version.Version); !errors.Is(err, token.ErrHostGone) {
		return err
	}
	return nil
}
