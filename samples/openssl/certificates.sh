#!/usr/bin/env bash
# usage: certificates.sh PROJECT/POLICY >certificates.pem
#
# Prints what a verifier needs besides the root: the key's certificate and after it the intermediate ones, as PEM.
# Needed: pkcs11-tool (opensc) and openssl. Credentials and address come from the environment, as for sign.sh.
set -euo pipefail

[[ $# -eq 1 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
module=${PKCS11_PROVIDER_MODULE:-/usr/lib/signkit/libsignkit-pkcs11.so}
export SIGNPATH_LOG_CONSOLE_LEVEL=${SIGNPATH_LOG_CONSOLE_LEVEL:-error}
# pkcs11-tool before 0.23 asks for sessions in which it could write, which a token without writing refuses by default.
export SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

read_certificate() { # into $work/pem
  pkcs11-tool --module "$module" --login --pin CONFIG --read-object --type cert "$@" --output-file "$work/der" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; return 1; }
  openssl x509 -inform DER -in "$work/der" -out "$work/pem"
}
name() { openssl x509 -in "$work/pem" -noout "-$1" -nameopt multiline | sed -n 's/^ *commonName *= //p'; }

# The signer's certificate has the key's id, which pkcs11-tool wants in hex.
read_certificate --id "$(printf %s "$1" | od -An -v -tx1 | tr -d ' \n')"
# The token names the others by their common name. The root (its own issuer) is no business of the signer's.
for ((depth = 0; depth < 10; depth++)); do
  issuer=$(name issuer)
  if [[ $issuer == "$(name subject)" ]]; then break; fi
  cat "$work/pem"
  if ! read_certificate --label "$issuer"; then break; fi
done
