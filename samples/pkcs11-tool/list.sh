#!/usr/bin/env bash
# usage: list.sh
#
# Lists the private keys that the credentials may use: one PROJECT/POLICY per line with the kind of key and its id for pkcs11-tool.
# Credentials and address come from the environment, as for sign.sh. Needed: pkcs11-tool (opensc).
set -euo pipefail

[[ $# -eq 0 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
module=${PKCS11_PROVIDER_MODULE:-/usr/lib/signkit/libsignkit-pkcs11.so}
export SIGNPATH_LOG_CONSOLE_LEVEL=${SIGNPATH_LOG_CONSOLE_LEVEL:-error}
# pkcs11-tool before 0.23 asks for sessions in which it could write, which a token without writing refuses by default.
export SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true

pkcs11-tool --module "$module" --login --pin CONFIG --list-objects --type privkey |
  awk '/^Private Key Object/ { kind = $NF } $1 == "label:" { label = $2 } $1 == "ID:" { print label, kind, $2 }'
