#!/usr/bin/env bash
# usage: verify.sh PUBLIC-KEY REPOSITORY SUITE [COMPONENT]
#
# Lets apt itself judge the repository at the path REPOSITORY: it reads the signed index with the key in PUBLIC-KEY (as
# `signkit gpg export` prints it) and no other. The machine's own lists stay as they are. Needed: apt, gpg.
set -euo pipefail

[[ $# -eq 3 || $# -eq 4 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
key=$1 repository=$(cd "$2" && pwd) suite=$3 component=${4:-main}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 0755 "$work" # apt reads as a user of its own

mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
cp "$key" "$work/key.asc"
for name in InRelease Release.gpg; do
  [[ -s $repository/dists/$suite/$name ]] || { echo "verify.sh: $repository/dists/$suite/$name is missing" >&2; exit 1; }
done
# The detached signature is for old clients; apt reads InRelease.
mkdir -m 0700 "$work/home"
export GNUPGHOME=$work/home
gpg --batch --quiet --no-autostart --dearmor --output "$work/keyring.gpg" "$key"
gpgv --status-fd 3 --keyring "$work/keyring.gpg" "$repository/dists/$suite/Release.gpg" "$repository/dists/$suite/Release" \
  3>"$work/status"

# It does not look whether the key, or the subkey that signed, has been revoked (r) or has expired (e): gpg's list says so.
read -r signer class made < <(awk '$2 == "VALIDSIG" { print $3, $11, $5; exit }' "$work/status")
gpg --batch --quiet --no-autostart --with-colons --show-keys "$key" | awk -F: -v "signer=$signer" '
  $1 == "pub" { primary = $2 }
  $1 == "pub" || $1 == "sub" { state = $2 }
  $1 == "fpr" && $10 == signer { found = 1; ended = primary state ~ /[re]/ }
  END { exit found && !ended ? 0 : 1 }' || { echo "verify.sh: the key $signer has been revoked or has expired" >&2; exit 1; }
# It takes signatures of a day to come, too. Clocks may differ by hours.
((made <= $(date +%s) + 86400)) || { echo "verify.sh: Release.gpg is dated $(date -d "@$made" +%F), which is to come" >&2; exit 1; }
# Class 01 is of text: it leaves open how lines end, and what a blank at their end is.
[[ $class == 00 ]] || { echo "verify.sh: Release.gpg is not a signature of the file's octets" >&2; exit 1; }

echo "deb [signed-by=$work/key.asc] file:$repository $suite $component" >"$work/sources.list"
apt-get update \
  -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- \
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" \
  -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any
