#!/usr/bin/env bash
# usage: sign.sh [--pss] PROJECT/POLICY FILE [SIGNATURE]
#
# Signs any file with pkcs11-tool; the signature goes to a file beside it: FILE.sig, or SIGNATURE. RSA keys make PKCS#1 v1.5
# signatures, or PSS with --pss; EC keys make ECDSA signatures in DER. The hash is SHA-256. openssl verifies all of them.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE); the PIN "CONFIG" says so to the module.
# Needed: pkcs11-tool (opensc), openssl.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
pss=''
if [[ ${1-} == --pss ]]; then
  pss=-PSS
  shift
fi
[[ ($# -eq 2 || $# -eq 3) && $1 != -* ]] || usage
key=$1 file=$2 signature=${3:-$2.sig}
[[ -f $file ]] || { echo "sign.sh: $file: no such file" >&2; exit 1; }

module=${PKCS11_PROVIDER_MODULE:-/usr/lib/signkit/libsignkit-pkcs11.so}
# When something fails, pkcs11-tool names an error code; the cause is what the module writes to stderr.
export SIGNPATH_LOG_CONSOLE_LEVEL=${SIGNPATH_LOG_CONSOLE_LEVEL:-error}
# pkcs11-tool before 0.23 asks for sessions in which it could write, which a token without writing refuses by default.
export SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true

# The id of a key is PROJECT/POLICY, which pkcs11-tool wants in hex. It ignores --label when it signs, and takes any key.
id=$(printf %s "$key" | od -An -v -tx1 | tr -d ' \n')
tool=(pkcs11-tool --module "$module" --login --pin CONFIG --id "$id")

# A signature that is only half there must not look like one.
rm -f "$signature"
work=$(mktemp -d)
trap 'if [[ $? -ne 0 ]]; then echo "sign.sh: $file is not signed with $key" >&2; fi; rm -rf "$work"' EXIT

"${tool[@]}" --read-object --type pubkey --output-file "$work/key.der"
if openssl rsa -pubin -inform DER -in "$work/key.der" -noout 2>/dev/null; then
  mechanism=(--mechanism "SHA256-RSA-PKCS$pss") padding=()
  if [[ $pss ]]; then padding=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1); fi # -1: as long as the hash
elif [[ $pss ]]; then
  echo "sign.sh: --pss is for RSA keys, and $key is none" >&2
  exit 1
else
  # Without the format, r and s stand side by side, which openssl does not take.
  mechanism=(--mechanism ECDSA-SHA256 --signature-format openssl) padding=()
fi
"${tool[@]}" --sign "${mechanism[@]}" --input-file "$file" --output-file "$work/signature"
openssl pkey -pubin -inform DER -in "$work/key.der" -out "$work/key.pem"
openssl dgst -sha256 "${padding[@]}" -verify "$work/key.pem" -signature "$work/signature" "$file" ||
  { echo "sign.sh: pkcs11-tool made no signature of $file" >&2; exit 1; }
cp "$work/signature" "$signature.part"
mv "$signature.part" "$signature"
