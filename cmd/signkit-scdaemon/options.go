package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

// options are what the command line says.
type options struct {
	home    string // the GNUPGHOME
	version bool
	help    string // what to print instead of serving
}

// parse reads the command line. gpg-agent passes --multi-server, and --homedir where the GNUPGHOME is not the default one. What is
// unknown is ignored: an error would only make gpg-agent ask for a card.
func parse(args, environ []string) options {
	o := options{home: defaultHome(environ)}
	flags := pflag.NewFlagSet("signkit-scdaemon", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() { o.help = "usage: signkit-scdaemon [flags], as gpg-agent calls it\n\n" + flags.FlagUsages() }
	home := flags.String("homedir", "", "GNUPGHOME whose keys are shown, `DIR`")
	flags.Bool("multi-server", false, "serve standard input and a socket, as always")
	flags.BoolVar(&o.version, "version", false, "print the version")
	_ = flags.Parse(args)
	if *home != "" {
		o.home = *home
	}
	if path, err := filepath.Abs(o.home); err == nil {
		o.home = path
	}
	return o
}

// defaultHome is where GnuPG looks without --homedir.
func defaultHome(environ []string) string {
	if home := variable(environ, "GNUPGHOME"); home != "" {
		return home
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	return filepath.Join(home, ".gnupg")
}

// variable takes the first of equal names, as libc does.
func variable(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
