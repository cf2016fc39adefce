#!/usr/bin/env bash
# usage: verify.sh --root ROOT [--tsa-root ROOT] [--no-timestamp] [--tsa-years YEARS] JAR…
#
# Verifies JAR files with jarsigner -strict: every entry must be signed, and by a certificate that ends at the root in ROOT. (The
# JDK's own list counts for jarsigner, too: so openssl is asked as well who signed.) Each signature must have a time-stamp that ends at --tsa-root (default: the same ROOT),
# unless --no-timestamp is given. Warns when a certificate of a time-stamp has less than YEARS (default 9) to live: Java takes no
# signature whose time-stamp's certificate has expired.
# Needed: a JDK, 11 or later (jarsigner, keytool, jar), openssl.
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

# Nothing that this machine trusts besides ROOT counts; OpenSSL before 3.0 knows no -no-CAstore.
alone=(-no-CAfile -no-CApath)
if { openssl verify -help 2>&1 || true; } | grep -e -no-CAstore >/dev/null; then alone+=(-no-CAstore); fi

# signed_below_root checks that a certificate below ROOT signed the manifest as a whole, and so all that it lists: a block is the
# signature of an .SF file, and that has the manifest's digest. Whether the time was right, jarsigner says.
signed_below_root() { # signed_below_root JAR
  local archive block algorithm digest
  archive=$(realpath "$1")
  rm -rf "$work/jar"
  mkdir "$work/jar"
  if [[ $(jar tf "$1" | tr '[:lower:]' '[:upper:]' | grep ^META-INF/ | sort | uniq --repeated) ]]; then fail "$1: an entry is there twice"; fi
  (cd "$work/jar" && jar xf "$archive" META-INF/)
  for block in "$work"/jar/META-INF/*.{RSA,EC,DSA}; do
    [[ -f $block && -f ${block%.*}.SF ]] || continue
    openssl cms -verify -binary -inform DER -in "$block" -content "${block%.*}.SF" "${alone[@]}" -CAfile "$root" -no_check_time \
      -purpose any -out /dev/null 2>"$work/log" || continue
    # The main section ends at an empty line; a blank continues a line.
    while read -r algorithm digest; do
      [[ $(openssl dgst -"${algorithm/-/}" -binary "$work/jar/META-INF/MANIFEST.MF" | base64 -w 0) == "$digest" ]] && return
    done < <(tr -d '\r' <"${block%.*}.SF" | sed '/^$/q' | sed -e ':a' -e 'N;$!ba' -e 's/\n //g' | sed -n 's/^SHA-\([0-9]*\)-Digest-Manifest: /sha-\1 /p')
  done
  return 1
}

count() { grep -c "$1" "$work/report" || true; }

for jar; do
  status=0
  jarsigner -J-Duser.language=en -verify -strict -verbose "${store[@]}" "$jar" >"$work/report" 2>&1 || status=$?
  cat "$work/report"
  [[ $status -eq 0 && $(count '^jar verified') -eq 1 ]] || fail "$jar: not signed, or not with a certificate below $root"
  signed_below_root "$jar" || fail "$jar: not signed as a whole with a certificate below $root"

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
