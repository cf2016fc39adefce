#!/usr/bin/env bash
# usage: verify.sh PUBLIC-KEY REPOSITORY
#
# Verifies the index of a yum or dnf repository with the key in PUBLIC-KEY (as `signkit gpg export` prints it) and no other, and
# the digests of the files that the index names. Needed: gpg, gpgv.
set -euo pipefail

[[ $# -eq 2 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
key=$1 repository=$2
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export GNUPGHOME=$home

gpg --batch --quiet --no-autostart --dearmor --output "$home/keyring.gpg" "$key"
gpgv --status-fd 3 --keyring "$home/keyring.gpg" "$repository/repodata/repomd.xml.asc" "$repository/repodata/repomd.xml" \
  3>"$home/status"

# It does not look whether the key, or the subkey that signed, has been revoked (r) or has expired (e): gpg's list says so.
read -r signer class made < <(awk '$2 == "VALIDSIG" { print $3, $11, $5; exit }' "$home/status")
gpg --batch --quiet --no-autostart --with-colons --show-keys "$key" | awk -F: -v "signer=$signer" '
  $1 == "pub" { primary = $2 }
  $1 == "pub" || $1 == "sub" { state = $2 }
  $1 == "fpr" && $10 == signer { found = 1; ended = primary state ~ /[re]/ }
  END { exit found && !ended ? 0 : 1 }' || { echo "verify.sh: the key $signer has been revoked or has expired" >&2; exit 1; }
# It takes signatures of a day to come, too. Clocks may differ by hours.
((made <= $(date +%s) + 86400)) || { echo "verify.sh: repomd.xml.asc is dated $(date -d "@$made" +%F), which is to come" >&2; exit 1; }
# Class 01 is of text: it leaves open how lines end, and what a blank at their end is.
[[ $class == 00 ]] || { echo "verify.sh: repomd.xml.asc is not a signature of the file's octets" >&2; exit 1; }

# Every file that the index lists is there with its digest. An element a line, whatever the layout; the names of the digests are
# those of coreutils, but for "sha", which is SHA-1.
files=0 kind='' sum=''
while read -r element; do
  case $element in
    '<checksum '*)
      kind=$(sed -n 's/.*type="\([a-z0-9]*\)".*/\1/p' <<<"$element") sum=${element##*>}
      if [[ $kind == sha ]]; then kind=sha1; fi
      ;;
    '<location '*)
      file=$(sed -n 's/.*href="\([^"]*\)".*/\1/p' <<<"$element")
      [[ $file && $kind =~ ^sha(1|224|256|384|512)$ ]] || { echo "verify.sh: repomd.xml has no digest for ${file:-a file}" >&2; exit 1; }
      echo "$sum  $repository/$file" | "${kind}sum" --check --quiet --strict - || { echo "verify.sh: stale: $file" >&2; exit 1; }
      files=$((files + 1))
      ;;
    '</data>'*) kind='' sum='' ;;
  esac
done < <(tr -d '\n' <"$repository/repodata/repomd.xml" | sed 's/</\n</g' | sed 's/[[:space:]]*$//'; echo)
[[ $files -gt 0 ]] || { echo "verify.sh: repomd.xml lists no file" >&2; exit 1; }
