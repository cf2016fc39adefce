#!/usr/bin/env bash
# usage: verify.sh [--pss] [--root ROOT] CERTIFICATES FILE [SIGNATURE]
#
# Verifies SIGNATURE (default FILE.sig) of FILE with plain openssl and public material alone.
# CERTIFICATES is a PEM file: the signer's certificate first, intermediate ones after it. With --root, that chain must end
# at the root certificate in ROOT; without, the signer's certificate is taken as it is, and must be known to be the right one.
# Needed: openssl.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
options=() root=''
while [[ ${1-} == --* ]]; do
  case $1 in
    --pss) options=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1) ;;
    --root) root=${2-}; shift ;;
    *) usage ;;
  esac
  shift
done
[[ $# -eq 2 || $# -eq 3 ]] || usage
certificates=$1 file=$2 signature=${3:-$2.sig}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [[ $root ]]; then
  # Nothing that this machine trusts besides ROOT counts; OpenSSL before 3.0 knows no -no-CAstore.
  alone=(-no-CAfile -no-CApath)
  if { openssl verify -help 2>&1 || true; } | grep -e -no-CAstore >/dev/null; then alone+=(-no-CAstore); fi
  openssl verify "${alone[@]}" -CAfile "$root" -untrusted "$certificates" "$certificates"
  # A web server's certificate signs nothing: where one says what it is for, that is code or e-mail.
  purposes=$(openssl x509 -in "$certificates" -noout -text | grep -A 1 'X509v3 Extended Key Usage') || true
  if [[ $purposes && ! $purposes =~ Code\ Signing|E-mail\ Protection|Any\ Extended\ Key\ Usage ]]; then
    echo "verify.sh: $certificates: the signer's certificate is not for code:${purposes##*:}" >&2
    exit 1
  fi
fi
openssl x509 -in "$certificates" -noout -pubkey >"$work/key"
openssl dgst -sha256 "${options[@]}" -verify "$work/key" -signature "$signature" "$file"
