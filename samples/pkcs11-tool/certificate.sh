#!/usr/bin/env bash
# usage: certificate.sh PROJECT/POLICY >certificate.pem
#
# Prints the certificate of a key as PEM. Credentials and address come from the environment, as for sign.sh.
# Needed: pkcs11-tool (opensc), openssl.
set -euo pipefail

[[ $# -eq 1 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
module=${PKCS11_PROVIDER_MODULE:-/usr/lib/signkit/libsignkit-pkcs11.so}
export SIGNPATH_LOG_CONSOLE_LEVEL=${SIGNPATH_LOG_CONSOLE_LEVEL:-error}
# pkcs11-tool before 0.23 asks for sessions in which it could write, which a token without writing refuses by default.
export SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The id of a key and of its certificate is PROJECT/POLICY, which pkcs11-tool wants in hex.
pkcs11-tool --module "$module" --login --pin CONFIG --read-object --type cert \
  --id "$(printf %s "$1" | od -An -v -tx1 | tr -d ' \n')" --output-file "$work/der" >&2
openssl x509 -inform DER -in "$work/der"
