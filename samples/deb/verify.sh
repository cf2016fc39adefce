#!/usr/bin/env bash
# usage: verify.sh PUBLIC-KEY PACKAGE.deb…
#
# Checks the "origin" signature of packages with debsig-verify, and a policy that takes the key in PUBLIC-KEY (as
# `signkit gpg export` prints it) and no other; or the "builder" signature with dpkg-sig where a package has that one.
# Needed: debsig-verify (or dpkg-sig), binutils, gpg, gpgv.
set -euo pipefail

[[ $# -ge 2 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
key=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$here/policy.sh" "$key" "$work"
for package; do
  # Every member is one that dpkg knows, in its order, and none is there twice: what is checked is what would be installed.
  members=$(ar t "$package")
  known='^debian-binary control\.tar(\.(gz|xz|zst))? data\.tar(\.(gz|bz2|lzma|xz|zst))?( _gpg[a-z]+)*$'
  if ! [[ ${members//$'\n'/ } =~ $known ]] || [[ $(sort <<<"$members" | uniq --repeated) ]]; then
    echo "verify.sh: $package: not the structure of a Debian package" >&2
    exit 1
  fi
  # A signature covers the members one behind the other, so each must begin, and the first one end, as its name says.
  [[ $(ar p "$package" debian-binary | od -An -tx1) == ' 32 2e 30 0a' ]] || { echo "verify.sh: $package: not version 2.0" >&2; exit 1; }
  while read -r member; do
    begin=$({ ar p "$package" "$member" || true; } | head -c 6 | od -An -v -tx1 | tr -d ' ')
    case $member in
      *.gz) magic=1f8b ;;
      *.xz) magic=fd377a585a00 ;;
      *.zst) magic=28b52ffd ;;
      *.bz2) magic=425a68 ;;
      *.lzma) magic=5d0000 ;;
      *) # plain: tar goes on behind the end, too, and finds nothing there
        magic=''
        [[ $(ar p "$package" "$member" | tar --list 2>&1) == "$(ar p "$package" "$member" | tar --list --ignore-zeros 2>&1)" ]] ||
          begin=other magic=tar
        ;;
    esac
    [[ $begin == "$magic"* ]] || { echo "verify.sh: $package: $member does not begin as its name says" >&2; exit 1; }
  done < <(grep '^[cd].*\.tar' <<<"$members")
  if ar t "$package" | grep -qx _gpgbuilder; then
    # dpkg-sig lists digests of the other members in a clear-signed text; gpgv decides who signed it.
    keyring=$(echo "$work"/keyrings/*/origin.gpg)
    ar p "$package" _gpgbuilder >"$work/builder.asc"
    gpgv --keyring "$keyring" --output "$work/builder" "$work/builder.asc"
    for member in $(ar t "$package" | grep -vx _gpgbuilder); do
      sum=$(ar p "$package" "$member" | sha1sum | cut -d ' ' -f 1)
      grep -qE "^[[:space:]]*[0-9a-f]{32} $sum [0-9]+ ${member//./\\.}\$" "$work/builder" ||
        { echo "verify.sh: $package: $member is not what was signed" >&2; exit 1; }
    done
    continue
  fi
  DEBSIG_GNUPG_PROGRAM=$here/gpgv.sh debsig-verify --policies-dir "$work/policies" --keyrings-dir "$work/keyrings" "$package"
done
