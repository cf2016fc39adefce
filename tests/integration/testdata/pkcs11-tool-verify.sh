#!/usr/bin/env bash
# usage: pkcs11-tool-verify.sh MECHANISM FILE     (in the folder where pkcs11-tool-sign.sh was)
# Verifies the signature that a mechanism made, with openssl and the key of certificate.der.
set -euo pipefail

case $1 in
  *SHA1*) hash=sha1 ;;
  *SHA384*) hash=sha384 ;;
  *SHA512*) hash=sha512 ;;
  *) hash=sha256 ;;
esac
options=()
if [[ $1 == *PSS* ]]; then options=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1); fi # -1: as long as the hash
key=$(mktemp)
openssl x509 -inform DER -in certificate.der -noout -pubkey >"$key"
openssl dgst -$hash "${options[@]}" -verify "$key" -signature "sig.$1" "$2"
