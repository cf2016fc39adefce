package artifact

import "os"

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

// debsigEnvironment is what debsig-verify runs in.
func (v verification) debsigEnvironment() ([]string, error) {
	program := v.path("gpg")
	err := os.WriteFile(program, []byte(debsigGPG), 0o700)
	return append(v.environment(), "DEBSIG_GNUPG_PROGRAM="+program), err
}
