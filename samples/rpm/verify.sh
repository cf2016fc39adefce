#!/usr/bin/env bash
# usage: verify.sh PUBLIC-KEY PACKAGE.rpm…
#
# Checks that every package is signed with the key in PUBLIC-KEY (as `signkit gpg export` prints it), and not only intact:
# `rpm --checksig` alone takes a package without any signature. Needed: rpm.
set -euo pipefail

[[ $# -ge 2 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A package database of its own, with this one key.
rpmkeys --dbpath "$work/db" --import "$1"
for package in "${@:2}"; do
  # rpmkeys says the name, too, and some releases take blanks and quotes in one for their own: so it gets one of ours.
  ln -sf "$(realpath "$package")" "$work/input.rpm"
  report=$(cd "$work" && LC_ALL=C rpmkeys --dbpath "$work/db" --checksig --verbose input.rpm) || { echo "$package: $report"; exit 1; }
  echo "$package: $report"
  if ! grep -Eqi 'signature, key (id|fingerprint).*: OK$' <<<"$report" || grep -i signature <<<"$report" | grep -v ': OK$' >/dev/null; then
    echo "verify.sh: $package: no signature of this key" >&2
    exit 1
  fi
done
