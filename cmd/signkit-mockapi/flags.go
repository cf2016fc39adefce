package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// parse reads the arguments of a command, which are all flags. help reports that they asked for its help, which is printed.
func parse(flags *pflag.FlagSet, args []string, stdout io.Writer, text string) (help bool, err error) {
	flags.Usage = func() { fmt.Fprint(stdout, text+"\nFlags:\n"+flags.FlagUsages()) }
	err = flags.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return true, nil
	case err != nil:
		return false, err
	case flags.NArg() > 0:
		return false, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	return false, nil
}
