#!/usr/bin/env bash
# usage: sign.sh [--pss] [--via provider|engine] PROJECT/POLICY FILE [SIGNATURE]
#
# Signs FILE with openssl; the signature goes to SIGNATURE (default FILE.sig).
# RSA keys make PKCS#1 v1.5 signatures, or PSS with --pss; EC keys make ECDSA signatures in DER. The hash is SHA-256.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE); the PIN "CONFIG" says so to the module.
# Needed: openssl 3 with pkcs11-provider, or openssl 1.1.1 or 3 with libp11's engine (libengine-pkcs11-openssl).
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
pss='' via=''
while [[ ${1-} == --* ]]; do
  case $1 in
    --pss) pss=yes ;;
    --via) via=${2-}; shift ;;
    *) usage ;;
  esac
  shift
done
[[ $# -eq 2 || $# -eq 3 ]] || usage
key=$1 file=$2 signature=${3:-$2.sig}

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
trap 'rm -rf "$work"' EXIT

if [[ $pss ]]; then
  # pkeyutl signs a hash; a salt length of -1 means "as long as the hash".
  openssl dgst -sha256 -binary -out "$work/hash" "$file"
  openssl pkeyutl -sign "${with[@]}" -inkey "$uri" -in "$work/hash" -out "$work/signature" \
    -pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:-1
else
  openssl dgst -sha256 "${with[@]}" -sign "$uri" -out "$work/signature" "$file"
fi
[[ -s $work/signature ]] || { echo "sign.sh: openssl made no signature" >&2; exit 1; }
cp "$work/signature" "$signature"
