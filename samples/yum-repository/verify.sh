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
gpgv --keyring "$home/keyring.gpg" "$repository/repodata/repomd.xml.asc" "$repository/repodata/repomd.xml"

files=0
while read -r sum file; do
  echo "$sum  $repository/$file" | sha256sum --check --quiet -
  files=$((files + 1))
done < <(sed -n -e 's|.*<checksum type="sha256">\([0-9a-f]*\)</checksum>.*|\1|p' -e 's|.*<location href="\([^"]*\)".*|\1|p' \
  "$repository/repodata/repomd.xml" | paste -d ' ' - -)
[[ $files -gt 0 ]] || { echo "verify.sh: repomd.xml names no file with a SHA-256 digest" >&2; exit 1; }
