#!/usr/bin/env bash
# usage: policy.sh PUBLIC-KEY DIRECTORY
#
# Writes what debsig-verify needs to accept packages with an "origin" signature of PUBLIC-KEY: DIRECTORY/policies/ID/origin.pol and
# DIRECTORY/keyrings/ID/origin.gpg. On a machine that shall demand such signatures they belong into /etc/debsig/policies and
# /usr/share/debsig/keyrings. Needed: gpg.
set -euo pipefail

[[ $# -eq 2 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
key=$1 directory=$2
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export GNUPGHOME=$home

listing=$(gpg --batch --quiet --no-autostart --with-colons --show-keys "$key")
if grep -qE '^pub:[re]:' <<<"$listing"; then # debsig-verify does not look at that
  echo "policy.sh: the key in $key has been revoked or has expired" >&2
  exit 1
fi
fingerprint=$(awk -F: '/^fpr/ { print $10; exit }' <<<"$listing")
id=${fingerprint: -16} # debsig-verify names the owner of a signature by the last 16 digits

mkdir -p "$directory/policies/$id" "$directory/keyrings/$id"
gpg --batch --quiet --no-autostart --yes --dearmor --output "$directory/keyrings/$id/origin.gpg" "$key"
cat >"$directory/policies/$id/origin.pol" <<POLICY
<?xml version="1.0"?>
<!DOCTYPE Policy SYSTEM "https://www.debian.org/debsig/1.0/policy.dtd">
<Policy xmlns="https://www.debian.org/debsig/1.0/">
  <Origin Name="origin" id="$id" Description="packages signed with $fingerprint"/>
  <Selection>
    <Required Type="origin" File="origin.gpg" id="$id"/>
  </Selection>
  <Verification MinOptional="0">
    <Required Type="origin" File="origin.gpg" id="$id"/>
  </Verification>
</Policy>
POLICY
