#!/usr/bin/env bash
# usage: verify.sh --root ROOT [--tsa-root ROOT] [--no-timestamp] [--tsa-years YEARS] [--identity DN] [--http] NAME@DIGEST…
#
# Verifies that container images have a signature whose certificates end at the root in ROOT, with a trust policy that knows
# nothing else: level strict, and a time-stamp that ends at --tsa-root (default: the same ROOT), unless --no-timestamp is given.
# --identity 'x509.subject: C=…, ST=…, O=…' names the signer; without it, every signer below ROOT will do.
# Warns when a certificate of a time-stamp has less than YEARS (default 9) to live.
# Needed: notation 1.3 or later.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
root='' tsa_root='' stamp=yes years=9 identity='*' registry=()
while [[ ${1-} == --* ]]; do
  case $1 in
    --root) root=${2-}; shift ;;
    --tsa-root) tsa_root=${2-}; shift ;;
    --no-timestamp) stamp='' ;;
    --tsa-years) years=${2-}; shift ;;
    --identity) identity=${2-}; shift ;;
    --http) registry=(--insecure-registry) ;;
    *) usage ;;
  esac
  shift
done
[[ $# -ge 1 && -f $root && $identity != *[\"\\]* ]] || usage

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A configuration of our own: nothing that the user trusts besides counts; credentials of registries are taken over.
mkdir -p "$work/notation"
own=${XDG_CONFIG_HOME:-${HOME-}/.config}/notation
if [[ -f $own/config.json ]]; then cp "$own/config.json" "$work/notation"; fi
export XDG_CONFIG_HOME=$work XDG_CACHE_HOME=$work

notation cert add --type ca --store trusted "$root" >/dev/null
stores='"ca:trusted"'
if [[ $stamp ]]; then
  # A policy with a store of this type takes no signature without a time-stamp.
  notation cert add --type tsa --store trusted "${tsa_root:-$root}" >/dev/null
  stores+=', "tsa:trusted"'
fi
cat >"$work/policy.json" <<END
{
  "version": "1.0",
  "trustPolicies": [{
    "name": "verify",
    "registryScopes": ["*"],
    "signatureVerification": {"level": "strict"},
    "trustStores": [$stores],
    "trustedIdentities": ["$identity"]
  }]
}
END
notation policy import "$work/policy.json" >/dev/null

for reference; do
  if ! notation verify "${registry[@]}" "$reference"; then
    echo "verify.sh: $reference: no signature below $root${stamp:+, or none with a time-stamp below ${tsa_root:-$root}}" >&2
    exit 1
  fi
  [[ $stamp ]] || continue
  until=$(notation inspect "${registry[@]}" --output json "$reference" |
    awk -F '"' '/"timestampSignature"/ { inside = 1 } inside && $2 == "expiry" { print $4 } /^ *\]/ { inside = 0 }' | sort)
  until=${until%%$'\n'*} # the first that ends
  if [[ $until && $(date -d "$until" +%s) -lt $(date -d "$years years" +%s) ]]; then
    echo "verify.sh: warning: $reference: a certificate of the time-stamp ends at $until; the signature may become" \
      "invalid then. A good one has about 10 years or more to live: choose another authority" >&2
  fi
done
