#!/usr/bin/env bash
# usage: verify.sh --root ROOT [--tsa-root ROOT] [--no-timestamp] [--tsa-years YEARS] FILE…
#
# Verifies every Authenticode signature in FILE, with the root certificate in ROOT and no other. Each signature must have a
# time-stamp that chains to the root in --tsa-root (default: the same ROOT), unless --no-timestamp is given.
# Warns when a certificate of a time-stamp has less than YEARS (default 9) to live.
# Needed: osslsigncode, openssl.
#
# Before version 2.13 osslsigncode can be made to run foreign code by a file that it verifies (memory errors, fixed in 2.12 and
# 2.13). The packages of Debian 11 (2.1-1), 12 (2.5-4) and 13 (2.9-2) have no fix: verify with them only what you have signed.
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
tsa_root=${tsa_root:-$root}

version=$(osslsigncode --version 2>/dev/null | sed -n '1s/^osslsigncode \([0-9]*\.[0-9]*\).*/\1/p') || true
if [[ $(printf '%s\n' 2.13 "$version" | sort -V | head -n 1) != 2.13 ]]; then
  echo "verify.sh: warning: osslsigncode $version is not safe with files of strangers; verify only what you have signed" >&2
fi

with=(-TSA-CAfile "$tsa_root")
if ! { osslsigncode verify --help 2>&1 || true; } | grep -e -TSA-CAfile >/dev/null; then with=(-untrusted "$tsa_root"); fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# certificates_of_stamps writes each time-stamp's certificates to a file of its own in $work. A time-stamp is a PKCS#7 object in
# the attribute 1.3.6.1.4.1.311.3.3.1 of a signature, nested ones included: attribute, SET, object.
certificates_of_stamps() { # certificates_of_stamps FILE
  local offset n=0
  rm -f "$work"/*
  osslsigncode extract-signature -in "$1" -out "$work/signature" >/dev/null 2>&1 || fail "$1: the signature cannot be read"
  # Before 2.7 that of a PE file comes with its header (WIN_CERTIFICATE: length, revision 2.0, type 2) and padding.
  if [[ $(head -c 8 "$work/signature" | od -An -tx1 -j4) == ' 00 02 02 00' ]]; then
    tail -c +9 "$work/signature" >"$work/object"
    mv "$work/object" "$work/signature"
  fi
  openssl asn1parse -inform DER -in "$work/signature" >"$work/structure" 2>/dev/null || true # stumbles over padding
  while read -r offset; do
    n=$((n + 1))
    openssl asn1parse -inform DER -in "$work/signature" -strparse "$offset" -noout -out "$work/stamp"
    openssl pkcs7 -inform DER -in "$work/stamp" -print_certs |
      awk -v prefix="$work/stamp-$n-" '/BEGIN CERT/ { i++; file = prefix i ".pem" } file { print >file } /END CERT/ { file = "" }'
  done < <(awk -F: '/OBJECT.*:1\.3\.6\.1\.4\.1\.311\.3\.3\.1$/ { want = 1 } want && /SEQUENCE/ { print $1 + 0; want = 0 }' \
    "$work/structure")
  [[ $n -gt 0 ]] || fail "$1: no time-stamp"
}

check_lifetimes() { # check_lifetimes FILE
  local certificate until
  certificates_of_stamps "$1"
  for certificate in "$work"/stamp-*.pem; do
    if openssl x509 -in "$certificate" -noout -checkend $((years * 365 * 86400)) >/dev/null; then continue; fi
    openssl x509 -in "$certificate" -noout -ext extendedKeyUsage 2>/dev/null | grep 'Time Stamping' >/dev/null || continue
    until=$(openssl x509 -in "$certificate" -noout -enddate | cut -d= -f2)
    echo "verify.sh: warning: $1: a certificate of the time-stamp ends at $until; signatures may become invalid then." \
      "A good one has about 10 years or more to live: choose another authority" >&2
  done
}

# closed says whether FILE ends with its signature and nothing stands beside that: what the digest leaves out could be anything.
# (Of installers, .msi, this looks at nothing but their length; `signkit verify` reads more.)
closed() { # closed FILE
  local size at length pe
  word() { od -An -v --endian=little -tu"$3" -j"$2" -N"$3" "$1" | tr -d ' '; } # word FILE OFFSET OCTETS
  size=$(stat -Lc %s "$1")
  case $(od -An -tx1 -N4 "$1" | tr -d ' '):$1 in
    4d5a*) # PE: the certificate table, data directory 4 of the optional header
      pe=$(($(word "$1" 60 4) + 24 + 96 + 32))
      if [[ $(word "$1" $((pe - 128)) 2) -eq 523 ]]; then pe=$((pe + 16)); fi # PE32+
      at=$(word "$1" "$pe" 4) length=$(word "$1" $((pe + 4)) 4)
      [[ $length -eq 0 ]] || [[ $((at + length)) -eq $size && $(outside "$1" $((at + 8)) $((length - 8))) -lt 8 ]]
      ;;
    4d534346*) # cabinet: the signature's place is in the reserved field
      if [[ $(word "$1" 36 2) -ne 20 ]]; then return; fi
      at=$(word "$1" 44 4) length=$(word "$1" 48 4)
      [[ $length -eq 0 ]] || [[ $(word "$1" 8 4) -eq $at && $((at + length)) -eq $size && $(outside "$1" "$at" "$length") -lt 8 ]]
      ;;
    d0cf11e0*) [[ $((size % 512)) -eq 0 ]] ;;
    *.ps1 | *.psm1 | *.psd1 | *.ps1xml) # text, also UTF-16: one block, at the end
      tr -d '\0' <"$1" | awk '/SIG # Begin signature block/ { blocks++ } blocks && !/^(# |<!-- )[A-Za-z0-9+\/=# ]+( -->)?\r?$/ { other = 1 }
        { last = $0 } END { exit blocks == 0 || blocks == 1 && !other && last ~ /SIG # End signature block/ ? 0 : 1 }'
      ;;
  esac
}
outside() { # outside FILE OFFSET LENGTH: how many of these octets are not of the DER structure that begins there
  local octets octet length=0
  read -ra octets < <(od -An -v -tu1 -j"$2" -N6 "$1")
  if [[ ${octets[0]-} -ne 48 ]]; then
    echo "$3"
  elif [[ ${octets[1]} -lt 128 ]]; then
    echo $(($3 - 2 - octets[1]))
  else
    for octet in "${octets[@]:2:octets[1]-128}"; do length=$((length * 256 + octet)); done
    echo $(($3 - 2 - (octets[1] - 128) - length))
  fi
}

for file; do
  closed "$file" || fail "$file: it has something behind or beside its signature that no signature covers"
  status=0
  osslsigncode verify -CAfile "$root" "${with[@]}" -in "$file" >"$work/report" 2>&1 || status=$?
  cat "$work/report"
  [[ $status -eq 0 ]] || fail "$file: not signed, or not with a certificate below $root"

  # osslsigncode takes a missing or bad time-stamp as no reason to fail, so its words must be read.
  signatures=$(grep -c '^Signature verification: ok' "$work/report") || fail "$file: no signature"
  if grep '^Signature verification: failed' "$work/report" >/dev/null; then fail "$file: one signature does not verify"; fi
  if [[ $stamp ]]; then
    if grep '^Timestamp is not available' "$work/report" >/dev/null; then fail "$file: no time-stamp"; fi
    if grep '^Timestamp Server Signature verification: failed' "$work/report" >/dev/null; then
      fail "$file: the time-stamp does not verify with $tsa_root"
    fi
    stamps=$(grep -c '^Timestamp Server Signature verification: ok' "$work/report") || true
    [[ $stamps -ge $signatures ]] || fail "$file: $signatures signatures, but $stamps good time-stamps"
    check_lifetimes "$file"
  fi
done
