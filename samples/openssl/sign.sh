#!/usr/bin/env bash
# usage: sign.sh [--form FORM] [--via provider|engine] [--certificates FILE] [--timestamp] [--tsa URL]… PROJECT/POLICY FILE [SIGNATURE]
#
# Signs any file with openssl; the signature goes to a file beside it: FILE.sig, or FILE.p7s for cms, or SIGNATURE.
#   dgst          (default) RSA PKCS#1 v1.5, or ECDSA in DER; SHA-256
#   pkeyutl       the same signature, made from the hash
#   pss           RSA-PSS, the salt as long as the hash
#   cms           detached CMS in DER with the certificates in it: those of --certificates, else certificates.sh fetches them
#   cms-pem       the same as PEM
#   cms-embedded  CMS in DER with the file in it, to FILE.p7m
#
# --timestamp adds SIGNATURE.tsr, which proves when the signature was there (RFC 3161): from the first authority of --tsa, or of
# SIGNKIT_TSA_URL (several are separated by blanks), that gives one.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE); the PIN "CONFIG" says so to the module.
# Needed: openssl 3 with pkcs11-provider, or openssl 1.1.1 or 3 with libp11's engine (libengine-pkcs11-openssl); for cms also
# opensc, for time-stamps curl.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
form=dgst via='' certificates='' stamp='' tsa=()
while [[ ${1-} == --* ]]; do
  case $1 in
    --form) form=${2-}; shift ;;
    --via) via=${2-}; shift ;;
    --certificates) certificates=${2-}; shift ;;
    --timestamp) stamp=yes ;;
    --tsa) tsa+=("${2-}") stamp=yes; shift ;;
    *) usage ;;
  esac
  shift || usage
done
[[ $# -eq 2 || $# -eq 3 ]] || usage
key=$1 file=$2
case $form in
  dgst | pkeyutl | pss) signature=${3:-$file.sig} ;;
  cms | cms-pem) signature=${3:-$file.p7s} ;;
  cms-embedded) signature=${3:-$file.p7m} ;;
  *) usage ;;
esac
if [[ $stamp && ${#tsa[@]} -eq 0 ]]; then read -ra tsa <<<"${SIGNKIT_TSA_URL-}"; fi
if [[ $stamp && ${#tsa[@]} -eq 0 ]]; then
  echo "sign.sh: no time-stamp authority: give --tsa URL or SIGNKIT_TSA_URL" >&2
  exit 2
fi

# Where the module is: pkcs11-provider reads the first name, libp11 the second.
module=${PKCS11_PROVIDER_MODULE:-/usr/lib/signkit/libsignkit-pkcs11.so}
export PKCS11_PROVIDER_MODULE=$module PKCS11_MODULE_PATH=$module
# When something fails, openssl says "device error"; the cause is what the module writes to stderr.
export SIGNPATH_LOG_CONSOLE_LEVEL=${SIGNPATH_LOG_CONSOLE_LEVEL:-error}

if [[ -z $via ]]; then
  via=engine
  # Where OPENSSL_CONF brings the engine, it meddles with the provider's keys.
  if openssl list -provider pkcs11 -providers >/dev/null 2>&1 && ! openssl engine 2>/dev/null | grep '(pkcs11)' >/dev/null; then
    via=provider
  fi
fi
case $via in
  provider) with=(-provider pkcs11 -provider default) ;;
  engine) with=(-engine pkcs11 -keyform engine) ;;
  *) usage ;;
esac

# The key's name is its project and policy; a slash in a PKCS#11 URI is written %2F (RFC 7512).
# The slugs are for libp11 before 0.4.13, which looks at all keys that it is shown: so it is shown this one.
export SIGNPATH_PROJECT_SLUG=${key%%/*} SIGNPATH_SIGNING_POLICY_SLUG=${key#*/}
uri="pkcs11:object=${key/\//%2F};type=private?pin-value=CONFIG"

# A signature that is only half there must not look like one.
rm -f "$signature" "$signature.tsr"
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
    -in "$file" -outform "$1" -out "$work/signature" "${@:2}"
  # The module has checked the signature; this checks what openssl built around it. Whether the signer is trusted, verify.sh says.
  if [[ ${2-} == -nodetach ]]; then
    openssl cms -verify -binary -inform "$1" -in "$work/signature" -out "$work/content" -noverify
    cmp "$work/content" "$file"
  else
    openssl cms -verify -binary -inform "$1" -in "$work/signature" -content "$file" -out /dev/null -noverify
  fi
}

stamp_with() { # stamp_with URL: a time-stamp of the signature into $work/stamp
  local status=0
  rm -f "$work/stamp"
  curl --silent --show-error --fail --location --max-time 60 "${tls[@]}" --header 'Content-Type: application/timestamp-query' \
    --data-binary "@$work/query" --output "$work/stamp" "$1" || return 1
  openssl ts -reply -in "$work/stamp" -text >"$work/log" 2>&1 || status=$?
  # Whether the authority is trusted, verify.sh says.
  [[ $status -eq 0 ]] && grep -e '^Status: Granted' "$work/log" >/dev/null
}

stamp_with_next() {
  local url
  tls=()
  if [[ -n ${SIGNKIT_CA_FILE-} ]]; then # an authority behind https may have a certificate of the same private CA as the service
    cat "$SIGNKIT_CA_FILE" /etc/ssl/certs/ca-certificates.crt >"$work/tls.pem" 2>/dev/null || true # Debian's place for the usual ones
    tls=(--cacert "$work/tls.pem")
  fi
  openssl ts -query -data "$work/signature" -sha256 -cert -out "$work/query"
  for url in "${tsa[@]}"; do
    if stamp_with "$url"; then return; fi
    echo "sign.sh: no time-stamp of $url" >&2
  done
  return 1
}

case $form in
  dgst) openssl dgst -sha256 "${with[@]}" -sign "$uri" -out "$work/signature" "$file" ;;
  pkeyutl) sign_hash ;;
  pss) sign_hash -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:-1 ;; # -1: as long as the hash
  cms) sign_cms DER ;;
  cms-pem) sign_cms PEM ;;
  cms-embedded) sign_cms DER -nodetach ;;
esac
[[ -s $work/signature ]] || { echo "sign.sh: openssl made no signature" >&2; exit 1; }
if [[ $stamp ]]; then
  stamp_with_next
  cp "$work/stamp" "$signature.tsr"
fi
cp "$work/signature" "$signature.part"
mv "$signature.part" "$signature"
