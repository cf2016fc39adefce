#!/usr/bin/env bash
# usage: sign.sh [--add|--replace] [--rpmv3] PROJECT/POLICY PACKAGE.rpm…
#
# Signs rpm packages in place with rpmsign: --add (the default) leaves packages alone that this key has signed already, and refuses
# those that others have signed; --replace takes old signatures away first. --rpmv3 adds a signature over header and payload, for rpm before 4.14.
# Each package is replaced only after its new signature was checked.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE). The public key for those who verify: signkit gpg export PROJECT/POLICY
# Needed: rpm (with rpmsign: package rpm on Debian and Ubuntu, rpm-sign on RHEL), gpg, gpg-agent, signkit.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
mode=--addsign extra=()
while [[ ${1-} == --* ]]; do
  case $1 in
    --add) mode=--addsign ;;
    --replace) mode=--resign ;;
    --rpmv3) extra+=(--rpmv3) ;;
    *) usage ;;
  esac
  shift
done
[[ $# -ge 2 ]] || usage
key=$1
shift
for package; do
  [[ -f $package ]] || { echo "sign.sh: $package: no such file" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A GNUPGHOME of its own, with the public key, and an agent that asks signkit's bridge; gone when this script ends.
setup=$(signkit gpg init "$key")
eval "$setup"

# rpm knows ECDSA only through Sequoia (rpm 4.20 and later, and RHEL 10's 4.19): others would sign, and then refuse their own package.
algorithm=$(gpg --batch --with-colons --list-keys "$GPG_KEY_ID" | awk -F: '/^pub/ { print $4; exit }')
version=$(rpm --version | awk '{ print $NF }')
if [[ $algorithm == 19 && $(printf '%s\n' 4.20 "$version" | sort -V | head -n 1) != 4.20 ]] &&
  ! ldd "$(command -v rpmkeys)" | grep -q rpm_sequoia; then
  echo "sign.sh: rpm $version cannot check ECDSA signatures; choose a policy with an RSA key (2048 bits or more) instead of $key" >&2
  exit 1
fi

gpg --batch --armor --export "$GPG_KEY_ID" >"$work/key.asc"
rpmkeys --dbpath "$work/db" --import "$work/key.asc"

for package; do
  copy=$work/input.rpm # rpm 4.16 splits names at blanks
  cp "$package" "$copy"
  # Only rpm 6 adds to the signatures that are there; others drop them.
  others=$(LC_ALL=C rpmkeys --dbpath "$work/db" --checksig --verbose "$copy" | grep -i '^ .*signature.*: NOKEY$') || true
  if [[ $mode == --addsign && $others ]]; then
    printf 'sign.sh: others have signed %s; --replace takes their signatures away:\n%s\n' "$package" "$others" >&2
    exit 1
  fi
  # Debian 11 and 12 name a gpg2 there that they do not have.
  if ! rpmsign --define "_gpg_name $GPG_KEY_ID" --define "__gpg $(command -v gpg)" "$mode" "${extra[@]}" "$copy"; then
    signkit gpg status --errors >&2 || true # rpmsign does not say why; the bridge does
    exit 1
  fi
  report=$(LC_ALL=C rpmkeys --dbpath "$work/db" --checksig --verbose "$copy") || true
  if ! grep -qi 'signature.*: OK$' <<<"$report" || grep -i signature <<<"$report" | grep -v ': OK$' >/dev/null; then
    printf 'sign.sh: %s does not verify after signing:\n%s\n' "$package" "$report" >&2
    exit 1
  fi
  # Written next to the package, so that the last step is one rename.
  cp "$copy" "$package.part"
  chmod --reference="$package" "$package.part"
  mv "$package.part" "$package"
done
