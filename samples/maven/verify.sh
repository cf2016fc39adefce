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
  gpgv --status-fd 3 --keyring "$home/keyring.gpg" "$file.asc" "$file" 3>"$home/status"
  # gpgv does not look whether the key, or the subkey that signed, has been revoked (r) or has expired (e): gpg's list says so.
  read -r signer class made < <(awk '$2 == "VALIDSIG" { print $3, $11, $5; exit }' "$home/status")
  gpg --batch --quiet --no-autostart --with-colons --show-keys "$1" | awk -F: -v "signer=$signer" '
    $1 == "pub" { primary = $2 }
    $1 == "pub" || $1 == "sub" { state = $2 }
    $1 == "fpr" && $10 == signer { found = 1; ended = primary state ~ /[re]/ }
    END { exit found && !ended ? 0 : 1 }' || { echo "verify.sh: the key $signer has been revoked or has expired" >&2; exit 1; }
  # It takes signatures of a day to come, too. Clocks may differ by hours.
  ((made <= $(date +%s) + 86400)) || { echo "verify.sh: $file.asc is dated $(date -d "@$made" +%F), which is to come" >&2; exit 1; }
  # Class 01 is of text: it leaves open how lines end, and what a blank at their end is.
  [[ $class == 00 ]] || { echo "verify.sh: $file.asc is not a signature of the file's octets" >&2; exit 1; }
done
