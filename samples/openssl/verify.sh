#!/usr/bin/env bash
# usage: verify.sh [--form dgst|pkeyutl|pss|cms] [--root ROOT] CERTIFICATES FILE [SIGNATURE]
#
# Verifies the SIGNATURE of FILE (default FILE.sig, or FILE.p7s for cms) with plain openssl and public material alone.
# CERTIFICATES is a PEM file: the signer's certificate first, intermediate ones after it. With --root, that chain must end
# at the root certificate in ROOT; without, the signer's certificate is taken as it is, and must be known to be the right one.
# A CMS message brings certificates along; here the signer must be the one of CERTIFICATES all the same.
# Needed: openssl.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
form=dgst root=''
while [[ ${1-} == --* ]]; do
  case $1 in
    --form) form=${2-} ;;
    --root) root=${2-} ;;
    *) usage ;;
  esac
  shift 2 || usage
done
[[ $# -eq 2 || $# -eq 3 ]] || usage
certificates=$1 file=$2
case $form in
  dgst | pkeyutl) signature=${3:-$file.sig} options=() ;;
  pss) signature=${3:-$file.sig} options=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1) ;;
  cms) signature=${3:-$file.p7s} ;;
  *) usage ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [[ $root ]]; then
  # -no-CApath: nothing that this machine trusts besides ROOT counts.
  openssl verify -no-CApath -CAfile "$root" -untrusted "$certificates" "$certificates"
fi

openssl x509 -in "$certificates" -out "$work/signer.pem"
if [[ $form == cms ]]; then
  # The chain was judged above: -noverify leaves it out here, -nointern looks for the signer in -certfile only.
  openssl cms -verify -binary -inform DER -in "$signature" -content "$file" -out /dev/null \
    -noverify -nointern -certfile "$work/signer.pem"
else
  openssl x509 -in "$work/signer.pem" -noout -pubkey >"$work/key"
  openssl dgst -sha256 "${options[@]}" -verify "$work/key" -signature "$signature" "$file"
fi
