package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"signkit/internal/version"
)

// byHand answers a person, and returns the exit status.
func byHand(args []string) int {
	flags := pflag.NewFlagSet("signkit-tokend", pflag.ContinueOnError)
	flags.Usage = func() {
		fmt.Print("signkit-tokend is started by the PKCS#11 module, without arguments.\n\n" + flags.FlagUsages())
	}
	show := flags.Bool("version", false, "print the version")
	switch err := flags.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "signkit-tokend:", err)
		return 2
	case *show:
		fmt.Println("signkit-tokend", version.Version)
		return 0
	}
	fmt.Fprintf(os.Stderr, "signkit-tokend: unknown argument %q\n", args[0])
	return 2
}
