#!/usr/bin/env bash
# usage: sign.sh [--form dgst|pkeyutl|pss|cms] [--via provider|engine] [--certificates FILE] PROJECT/POLICY FILE [SIGNATURE]
#
# Signs any file with openssl; the signature goes to a file beside it: FILE.sig, or FILE.p7s for cms, or SIGNATURE.
#   dgst     (default) RSA PKCS#1 v1.5, or ECDSA in DER; SHA-256
#   pkeyutl  the same signature, made from the hash
#   pss      RSA-PSS, the salt as long as the hash
#   cms      detached CMS in DER with the certificates in it: those of --certificates, else certificates.sh fetches them
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE); the PIN "CONFIG" says so to the module.
# Needed: openssl 3 with pkcs11-provider, or openssl 1.1.1 or 3 with libp11's engine (libengine-pkcs11-openssl); for cms also opensc.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
form=dgst via='' certificates=''
while [[ ${1-} == --* ]]; do
  case $1 in
    --form) form=${2-} ;;
    --via) via=${2-} ;;
    --certificates) certificates=${2-} ;;
    *) usage ;;
  esac
  shift 2 || usage
done
[[ $# -eq 2 || $# -eq 3 ]] || usage
key=$1 file=$2
case $form in
  dgst | pkeyutl | pss) signature=${3:-$file.sig} ;;
  cms) signature=${3:-$file.p7s} ;;
  *) usage ;;
esac

# Where the module is: pkcs11-provider reads the first name, libp11 the second.
module=${PKCS11_PROVIDER_MODULE:-/usr/lib/signkit/libsignkit-pkcs11.so}
export PKCS11_PROVIDER_MODULE=$module PKCS11_MODULE_PATH=$module
# When something fails, openssl says "device error"; the cause is what the module writes to stderr.
export SIGNPATH_LOG_CONSOLE_LEVEL=${SIGNPATH_LOG_CONSOLE_LEVEL:-error}

if [[ -z $via ]]; then
  via=engine
  if openssl list -provider pkcs11 -providers >/dev/null 2>&1; then via=provider; fi
fi
case $via in
  provider) with=(-provider pkcs11 -provider default) ;;
  engine) with=(-engine pkcs11 -keyform engine) ;;
  *) usage ;;
esac

# The key's name is its project and policy; a slash in a PKCS#11 URI is written %2F (RFC 7512).
uri="pkcs11:object=${key/\//%2F};type=private?pin-value=CONFIG"

# A signature that is only half there must not look like one.
rm -f "$signature"
work=$(mktemp -d)
trap 'if [[ $? -ne 0 ]]; then echo "sign.sh: $file is not signed with $key" >&2; fi; rm -rf "$work"' EXIT

sign_hash() { # sign_hash [PKEYUTL-OPTION…]
  openssl dgst -sha256 -binary -out "$work/hash" "$file"
  openssl pkeyutl -sign "${with[@]}" -inkey "$uri" -in "$work/hash" -out "$work/signature" -pkeyopt digest:sha256 "$@"
}

sign_cms() {
  if [[ -z $certificates ]]; then
    certificates=$work/certificates.pem
    "$(dirname "$0")/certificates.sh" "$key" >"$certificates"
  fi
  openssl x509 -in "$certificates" -out "$work/signer.pem"
  # The others go into the message, too; openssl before 3.2 refuses to add the signer's twice.
  sed '1,/-END CERTIFICATE-/d' "$certificates" >"$work/issuers.pem"
  local more=()
  if [[ -s $work/issuers.pem ]]; then more=(-certfile "$work/issuers.pem"); fi
  openssl cms -sign -binary -md sha256 "${with[@]}" -inkey "$uri" -signer "$work/signer.pem" "${more[@]}" \
    -in "$file" -outform DER -out "$work/signature"
  # The module has checked the signature; this checks what openssl built around it. Whether the signer is trusted, verify.sh says.
  openssl cms -verify -binary -inform DER -in "$work/signature" -content "$file" -out /dev/null -noverify
}

case $form in
  dgst) openssl dgst -sha256 "${with[@]}" -sign "$uri" -out "$work/signature" "$file" ;;
  pkeyutl) sign_hash ;;
  pss) sign_hash -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:-1 ;; # -1: as long as the hash
  cms) sign_cms ;;
esac
[[ -s $work/signature ]] || { echo "sign.sh: openssl made no signature" >&2; exit 1; }
cp "$work/signature" "$signature.part"
mv "$signature.part" "$signature"
