#!/usr/bin/env bash
# usage: verify.sh --root ROOT [--tsa-root ROOT] [--no-timestamp] [--tsa-years YEARS] JAR…
#
# Verifies JAR files with jarsigner -strict: every entry must be signed, with certificates that end at the root in ROOT (or at
# one that the JDK trusts by itself). Each signature must have a time-stamp that ends at --tsa-root (default: the same ROOT),
# unless --no-timestamp is given. Warns when a certificate of a time-stamp has less than YEARS (default 9) to live: Java takes no
# signature whose time-stamp's certificate has expired.
# Needed: a JDK, 11 or later (jarsigner, keytool).
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
fail() { echo "verify.sh: $*" >&2; exit 1; }
root='' tsa_root='' stamp=yes years=9
while [[ ${1-} == --* ]]; do
  case $1 in
    --root) root=${2-}; shift ;;
    --tsa-root) tsa_root=${2-}; shift ;;
    --no-timestamp) stamp='' ;;
    --tsa-years) years=${2-}; shift ;;
    *) usage ;;
  esac
  shift
done
[[ $# -ge 1 && -f $root ]] || usage

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C

store=(-keystore "$work/trusted" -storetype PKCS12 -storepass changeit)
trust() { # trust ALIAS FILE
  keytool -J-Duser.language=en -importcert -noprompt -trustcacerts -alias "$1" -file "$2" "${store[@]}" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "$2: this is no certificate"; }
}
trust root "$root"
if [[ $tsa_root ]]; then trust tsa "$tsa_root"; fi

count() { grep -c "$1" "$work/report" || true; }

for jar; do
  status=0
  jarsigner -J-Duser.language=en -verify -strict -verbose "${store[@]}" "$jar" >"$work/report" 2>&1 || status=$?
  cat "$work/report"
  [[ $status -eq 0 && $(count '^jar verified') -eq 1 ]] || fail "$jar: not signed, or not with a certificate below $root"

  # A missing time-stamp is no reason for jarsigner to fail, so its words must be read.
  if [[ $stamp ]]; then
    signatures=$(count '^- Signed by "') stamps=$(count '^  Timestamped by "')
    [[ $signatures -gt 0 && $signatures -eq $stamps && $(count 'do not include a timestamp') -eq 0 ]] ||
      fail "$jar: $signatures signatures, but $stamps time-stamps"
    until=$(sed -n 's/.*timestamp \(will expire\|expires\) on \([0-9-]*\)\..*/\2/p' "$work/report" | sort | head -n 1)
    [[ $until ]] || fail "$jar: jarsigner does not say when the time-stamp ends"
    if [[ $(date -d "$until" +%s) -lt $(date -d "$years years" +%s) ]]; then
      echo "verify.sh: warning: $jar: a certificate of the time-stamp ends at $until; the signature becomes invalid then." \
        "A good one has about 10 years or more to live: choose another authority" >&2
    fi
  fi
done
