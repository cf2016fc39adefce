#!/usr/bin/env bash
# usage: verify.sh PUBLIC-KEY tag NAME | verify.sh PUBLIC-KEY commit REVISION
#
# Verifies a signed tag or commit with the key in PUBLIC-KEY (as `signkit gpg export` prints it) and no other. Needed: git, gpg.
set -euo pipefail

[[ $# -eq 3 && ($2 == tag || $2 == commit) ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
home=$(mktemp -d)
trap 'gpgconf --homedir "$home" --kill all; gpgconf --homedir "$home" --remove-socketdir 2>/dev/null; rm -rf "$home"' EXIT
export GNUPGHOME=$home

# A GNUPGHOME with this one key: git takes signatures of every key it finds there.
gpg --batch --quiet --import "$1"
git -c gpg.format=openpgp -c gpg.program=gpg "verify-$2" "$3"
