#!/usr/bin/env bash
# usage: verify.sh PUBLIC-KEY PACKAGE.rpm…
#
# Checks that every package is signed with the key in PUBLIC-KEY (as `signkit gpg export` prints it), and not only intact:
# `rpm --checksig` alone takes a package without any signature. Needed: rpm.
set -euo pipefail

[[ $# -ge 2 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
db=$(mktemp -d)
trap 'rm -rf "$db"' EXIT

# A package database of its own, with this one key.
rpmkeys --dbpath "$db" --import "$1"
for package in "${@:2}"; do
  report=$(LC_ALL=C rpmkeys --dbpath "$db" --checksig --verbose "$package") || { echo "$report"; exit 1; }
  echo "$report"
  if ! grep -qi 'signature.*: OK$' <<<"$report" || grep -i signature <<<"$report" | grep -qv ': OK$'; then
    echo "verify.sh: $package: no signature of this key" >&2
    exit 1
  fi
done
