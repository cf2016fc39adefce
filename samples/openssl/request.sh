#!/usr/bin/env bash
# usage: request.sh [--self-signed DAYS] [--via provider|engine] PROJECT/POLICY SUBJECT FILE
#
# Writes a certificate request (CSR, PKCS#10) for a key to FILE, as PEM: what a certification authority asks for before it issues
# a certificate. SUBJECT is the name that it shall have, such as '/C=AT/O=Example/CN=Example release'. With --self-signed it is a
# certificate that the key has signed itself, for as many days.
#
# Credentials and the service's address come from the environment, as for sign.sh. Needed: openssl with provider or engine.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
days='' via=''
while [[ ${1-} == --* ]]; do
  case $1 in
    --self-signed) days=${2-} ;;
    --via) via=${2-} ;;
    *) usage ;;
  esac
  shift 2 || usage
done
[[ $# -eq 3 && $2 == /* ]] || usage
key=$1 subject=$2 file=$3

module=${PKCS11_PROVIDER_MODULE:-/usr/lib/signkit/libsignkit-pkcs11.so}
export PKCS11_PROVIDER_MODULE=$module PKCS11_MODULE_PATH=$module
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
# The slugs are for libp11 before 0.4.13, which looks at all keys that it is shown: so it is shown this one.
export SIGNPATH_PROJECT_SLUG=${key%%/*} SIGNPATH_SIGNING_POLICY_SLUG=${key#*/}
uri="pkcs11:object=${key/\//%2F};type=private?pin-value=CONFIG"

rm -f "$file"
work=$(mktemp -d)
trap 'if [[ $? -ne 0 ]]; then echo "request.sh: $key has signed no request" >&2; fi; rm -rf "$work"' EXIT

if [[ $days ]]; then
  openssl req -new -x509 -days "$days" -sha256 "${with[@]}" -key "$uri" -subj "$subject" -out "$work/pem"
  openssl verify -no-CAfile -no-CApath -check_ss_sig -CAfile "$work/pem" "$work/pem" >&2
else
  openssl req -new -sha256 "${with[@]}" -key "$uri" -subj "$subject" -out "$work/pem"
  openssl req -in "$work/pem" -verify -noout 2>&1 | grep 'verify OK' >&2 # openssl 1.1.1 ends with 0 in any case
fi
cp "$work/pem" "$file.part"
mv "$file.part" "$file"
