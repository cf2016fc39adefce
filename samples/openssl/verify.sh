#!/usr/bin/env bash
# usage: verify.sh [--form FORM] [--root ROOT] [--tsa-root ROOT] [--tsa-years YEARS] CERTIFICATES FILE [SIGNATURE]
#
# Verifies the SIGNATURE of FILE (default FILE.sig, FILE.p7s for cms, FILE.p7m for cms-embedded) with plain openssl and public
# material alone. FORM is that of sign.sh; CMS with the file in it must have the same content as FILE.
# CERTIFICATES is a PEM file: the signer's certificate first, intermediate ones after it. With --root, that chain must end
# at the root certificate in ROOT; without, the signer's certificate is taken as it is, and must be known to be the right one.
# A CMS message brings certificates along; here the signer must be the one of CERTIFICATES all the same.
# With --tsa-root there must be a time-stamp of the signature, SIGNATURE.tsr, that ends at the root in ROOT. Warns when its
# certificate has less than YEARS (default 9) to live.
# Needed: openssl.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
form=dgst root='' tsa_root='' years=9
while [[ ${1-} == --* ]]; do
  case $1 in
    --form) form=${2-} ;;
    --root) root=${2-} ;;
    --tsa-root) tsa_root=${2-} ;;
    --tsa-years) years=${2-} ;;
    *) usage ;;
  esac
  shift 2 || usage
done
[[ $# -eq 2 || $# -eq 3 ]] || usage
certificates=$1 file=$2
case $form in
  dgst | pkeyutl) signature=${3:-$file.sig} options=() ;;
  pss) signature=${3:-$file.sig} options=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1) ;;
  cms | cms-pem) signature=${3:-$file.p7s} options=(-content "$file" -out /dev/null) ;;
  cms-embedded) signature=${3:-$file.p7m} ;;
  *) usage ;;
esac

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

openssl x509 -in "$certificates" -out "$work/signer.pem"
if [[ $form == cms* ]]; then
  encoding=DER
  if [[ $form == cms-pem ]]; then encoding=PEM; fi
  # The chain was judged above: -noverify leaves it out here, -nointern looks for the signer in -certfile only.
  if [[ $form == cms-embedded ]]; then options=(-out "$work/content"); fi
  openssl cms -verify -binary -inform $encoding -in "$signature" "${options[@]}" \
    -noverify -nointern -certfile "$work/signer.pem"
  if [[ $form == cms-embedded ]]; then cmp "$work/content" "$file"; fi
else
  openssl x509 -in "$work/signer.pem" -noout -pubkey >"$work/key"
  openssl dgst -sha256 "${options[@]}" -verify "$work/key" -signature "$signature" "$file"
fi

if [[ $tsa_root ]]; then
  openssl ts -verify -data "$signature" -in "$signature.tsr" -CAfile "$tsa_root"
  openssl ts -reply -in "$signature.tsr" -token_out -out "$work/token"
  openssl pkcs7 -inform DER -in "$work/token" -print_certs |
    awk -v prefix="$work/stamp-" '/BEGIN CERT/ { i++; file = prefix i ".pem" } file { print >file } /END CERT/ { file = "" }'
  for certificate in "$work"/stamp-*.pem; do
    if openssl x509 -in "$certificate" -noout -checkend $((years * 365 * 86400)) >/dev/null; then continue; fi
    openssl x509 -in "$certificate" -noout -ext extendedKeyUsage 2>/dev/null | grep 'Time Stamping' >/dev/null || continue
    until=$(openssl x509 -in "$certificate" -noout -enddate | cut -d= -f2)
    echo "verify.sh: warning: $signature.tsr: a certificate of the time-stamp ends at $until; it may prove nothing then." \
      "A good one has about 10 years or more to live: choose another authority" >&2
  done
fi
