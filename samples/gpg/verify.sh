#!/usr/bin/env bash
# usage: verify.sh [--output CONTENT] PUBLIC-KEY SIGNATURE [FILE]
#
# Verifies a detached SIGNATURE of FILE, or a clear-signed or inline-signed file alone, with the key in PUBLIC-KEY (as
# `signkit gpg export` prints it) and no other. --output writes what was signed: of a clear-signed file trust only that, since
# text may stand around the signed part. Needed: gpg, gpgv.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
output=()
if [[ ${1-} == --output ]]; then
  output=(--output "${2-}")
  shift 2
fi
[[ $# -eq 2 || $# -eq 3 ]] || usage

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export GNUPGHOME=$home

# gpgv takes a signature only from a key in its keyring, and knows no trust but that.
gpg --batch --quiet --no-autostart --dearmor --output "$home/keyring.gpg" "$1"
gpgv --status-fd 3 --keyring "$home/keyring.gpg" "${output[@]}" "${@:2}" 3>"$home/status"

# It does not look whether the key, or the subkey that signed, has been revoked (r) or has expired (e): gpg's list says so.
read -r signer class made < <(awk '$2 == "VALIDSIG" { print $3, $11, $5; exit }' "$home/status")
gpg --batch --quiet --no-autostart --with-colons --show-keys "$1" | awk -F: -v "signer=$signer" '
  $1 == "pub" { primary = $2 }
  $1 == "pub" || $1 == "sub" { state = $2 }
  $1 == "fpr" && $10 == signer { found = 1; ended = primary state ~ /[re]/ }
  END { exit found && !ended ? 0 : 1 }' || { echo "verify.sh: the key $signer has been revoked or has expired" >&2; exit 1; }
# It takes signatures of a day to come, too. Clocks may differ by hours.
((made <= $(date +%s) + 86400)) || { echo "verify.sh: $2 is dated $(date -d "@$made" +%F), which is to come" >&2; exit 1; }
# Class 01 is of text, as in a clear-signed file: beside a FILE it leaves open how the lines of that end.
[[ $# -eq 2 || $class == 00 ]] || { echo "verify.sh: $2 is not a signature of the octets of $3" >&2; exit 1; }
