#!/usr/bin/env bash
# usage: verify.sh PUBLIC-KEY FILE…
#
# Verifies files that Maven would deploy, each with the FILE.asc beside it, with the key in PUBLIC-KEY (as `signkit gpg export`
# prints it) and no other. Needed: gpg, gpgv.
set -euo pipefail

[[ $# -ge 2 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export GNUPGHOME=$home

gpg --batch --quiet --no-autostart --dearmor --output "$home/keyring.gpg" "$1"
for file in "${@:2}"; do
  gpgv --keyring "$home/keyring.gpg" "$file.asc" "$file"
done
