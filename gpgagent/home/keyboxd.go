package home

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// KeyboxdError reports that GnuPG is told to keep public keys in keyboxd, which is not installed.
type KeyboxdError struct{ Program string }

func (e *KeyboxdError) Error() string {
	return fmt.Sprintf("common.conf tells gpg to use keyboxd, and %s is not there", e.Program)
}

// KeyboxdHint is what to do about it.
const KeyboxdHint = "install keyboxd (package keyboxd on Debian and Ubuntu), or take use-keyboxd out of /etc/gnupg/common.conf"

// MissingKeyboxd returns a *KeyboxdError if gpg needs keyboxd in this home and cannot start it. Without
// it no gpg command that needs a public key works.
func (h *Home) MissingKeyboxd(ctx context.Context) error {
	// The pseudo option's default is what is in force (releases before 2.4 do not list it).
	if h.gpgconfField(ctx, "use_keyboxd", 7, "--list-options", "gpg") != "1" {
		return nil
	}
	program := h.gpgconfField(ctx, "keyboxd", 2, "--list-components")
	if program == "" || unix.Access(program, unix.X_OK) == nil {
		return nil
	}
	return &KeyboxdError{program}
}

// gpgconfField is one field of the line that begins with a name; "" where there is none.
func (h *Home) gpgconfField(ctx context.Context, name string, field int, args ...string) string {
	out, err := h.run(ctx, os.Environ(), nil, "gpgconf", args...)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Split(strings.TrimSpace(line), ":"); fields[0] == name && len(fields) > field {
			return fields[field]
		}
	}
	return ""
}
