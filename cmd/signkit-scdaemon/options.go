package main

import (
	"os"
	"path/filepath"
	"strings"
)

// options are what the command line says. gpg-agent passes --multi-server, and
// --homedir where the GNUPGHOME is not the default one. What is unknown is
// ignored: an error would only make gpg-agent ask for a card.
type options struct {
	home    string // the GNUPGHOME
	version bool
}

func parse(args, environ []string) options {
	o := options{home: defaultHome(environ)}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		switch name {
		case "--version":
			o.version = true
		case "--homedir":
			if !inline && i+1 < len(args) {
				i++
				value = args[i]
			}
			if value != "" {
				o.home = value
			}
		}
	}
	if home, err := filepath.Abs(o.home); err == nil {
		o.home = home
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
