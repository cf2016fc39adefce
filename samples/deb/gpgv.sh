#!/bin/sh
# For debsig-verify in place of gpg: DEBSIG_GNUPG_PROGRAM=/path/to/gpgv.sh debsig-verify PACKAGE.deb
#
# debsig-verify names the keyring that counts, and gpg does not look at it where /etc/gnupg/common.conf has use-keyboxd. gpgv always
# does; it takes the same words but those that say which of gpg's commands it is and what of its configuration to leave out.
# Needed: gpg, gpgv.
set -eu

case " $* " in *" --verify "*) ;; *) exec gpg "$@" ;; esac
words=$#
while [ "$words" -gt 0 ]; do
  case $1 in --verify | --batch | --no-*) ;; *) set -- "$@" "$1" ;; esac
  shift
  words=$((words - 1))
done
exec gpgv "$@"
