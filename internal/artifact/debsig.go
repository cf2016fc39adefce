package artifact

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// debsigGPG runs in place of gpg for debsig-verify, which names the keyring that counts: gpg does not look at it where the
// system's common.conf has use-keyboxd, and gpgv always does. gpgv takes the same words but those that say which of gpg's
// commands it is and what of its configuration to leave out.
const debsigGPG = `#!/bin/sh
case " $* " in *" --verify "*) ;; *) exec gpg "$@" ;; esac
words=$#
while [ "$words" -gt 0 ]; do
  case $1 in --verify | --batch | --no-*) ;; *) set -- "$@" "$1" ;; esac
  shift
  words=$((words - 1))
done
exec gpgv "$@"
`

// debsigEnvironment is what debsig-verify runs in. Where TMPDIR forbids programs, as Docker's tmpfs does, gpg itself must do: it
// does but with use-keyboxd.
func (v verification) debsigEnvironment() ([]string, error) {
	var mount unix.Statfs_t
	if err := unix.Statfs(v.scratch, &mount); err != nil {
		return nil, fmt.Errorf("looking at the folder for temporary files: %w", err)
	}
	if mount.Flags&unix.ST_NOEXEC != 0 {
		return v.environment(), nil
	}
	program := v.path("gpg")
	err := os.WriteFile(program, []byte(debsigGPG), 0o700)
	return append(v.environment(), "DEBSIG_GNUPG_PROGRAM="+program), err
}
