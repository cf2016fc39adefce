#!/usr/bin/env bash
# usage: sign.sh [--detach|--clear|--inline] PROJECT/POLICY FILE…
#
# Signs files with gpg. --detach (the default) writes FILE.asc, a signature beside the file; --clear writes FILE.asc, readable
# text with its signature; --inline writes FILE.gpg, the compressed file with its signature inside. A signature of this key that
# is there is made anew; one of somebody else is never overwritten.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE). The public key for those who verify: signkit gpg export PROJECT/POLICY
# Needed: gpg, gpg-agent, signkit.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
form=--detach
case ${1-} in
  --detach | --clear | --inline) form=$1; shift ;;
  -*) usage ;;
esac
[[ $# -ge 2 ]] || usage
key=$1
shift

# A GNUPGHOME of its own, with the public key, and an agent that asks signkit's bridge; gone when this script ends.
setup=$(signkit gpg init "$key")
eval "$setup"

signers() { # signers FILE: the ids of the keys that have signed, whatever the form
  local read=(cat) armor=-----BEGIN\ PGP\ SIGNATURE-----
  if grep -a "^$armor" "$1" >/dev/null; then read=(sed -n "/^$armor/,\$p"); fi
  "${read[@]}" "$1" | gpg --batch --list-packets 2>/dev/null | sed -n 's/^:signature packet: .*keyid //p' | sort -u
}

for file; do
  case $form in
    --detach) output=$file.asc command=(--armor --detach-sign) ;;
    --clear) output=$file.asc command=(--clear-sign) ;;
    --inline) output=$file.gpg command=(--sign) ;;
  esac
  if [[ -e $output && $(signers "$output") != "${GPG_KEY_ID: -16}" ]]; then
    echo "sign.sh: $output is no signature of $key: remove it first, if nobody needs it" >&2
    exit 1
  fi
  # A signature that is only half there must not look like one.
  rm -f "$output"
  if ! gpg --batch --yes --local-user "$GPG_KEY_ID" --output "$output.part" "${command[@]}" "$file"; then
    rm -f "$output.part"
    signkit gpg status --errors >&2 || true # gpg does not say why; the bridge does
    exit 1
  fi
  mv "$output.part" "$output"
done
