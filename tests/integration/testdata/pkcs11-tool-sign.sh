#!/usr/bin/env bash
# usage: pkcs11-tool-sign.sh PROJECT/POLICY RSA|EC     (in the current folder)
# Signs a file with each mechanism that pkcs11-tool lists for that kind of key, and asks the token everything else the tool
# can ask. Prints "MECHANISM yes" or "QUESTION yes" lines; signatures stay in sig.MECHANISM.
set -euo pipefail

key=$1 kind=$2
id=$(printf %s "$key" | od -An -v -tx1 | tr -d ' \n')
tool=(pkcs11-tool --module /usr/lib/signkit/libsignkit-pkcs11.so)
log_in=("${tool[@]}" --login --pin CONFIG)

ask() { # ask NAME EXPECTED COMMAND…
  local name=$1 expected=$2
  shift 2
  if "$@" >"out.$name" 2>&1 && grep -q -e "$expected" "out.$name"; then
    echo "$name yes"
  else
    echo "$name no"
    sed "s/^/$name: /" "out.$name" >&2
  fi
}

echo "what is to be signed" >file
openssl dgst -sha256 -binary -out hash file
# A DigestInfo of SHA-256 (RFC 8017, section 9.2, note 1).
{
  printf '\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20'
  cat hash
} >info

"${tool[@]}" --list-mechanisms >mechanisms
mapfile -t mechanisms < <(awk -F '[ ,]+' '/[ ,]sign(,|$)/ { print $2 }' mechanisms)
for mechanism in "${mechanisms[@]}"; do
  case $kind:$mechanism in
    RSA:RSA-PKCS) input=info options=() ;;
    RSA:RSA-PKCS-PSS) input=hash options=(--hash-algorithm SHA256 --mgf MGF1-SHA256) ;;
    RSA:*RSA*) input=file options=() ;;
    EC:ECDSA) input=hash options=(--signature-format openssl) ;;
    EC:ECDSA*) input=file options=(--signature-format openssl) ;;
    *) continue ;;
  esac
  ask "$mechanism" . "${log_in[@]}" --sign --id "$id" --mechanism "$mechanism" "${options[@]}" \
    --input-file "$input" --output-file "sig.$mechanism"
done

ask show-info 'Cryptoki version 2.40' "${tool[@]}" --show-info
ask list-slots 'Slot 0' "${tool[@]}" --list-slots
ask list-token-slots 'token label' "${tool[@]}" --list-token-slots
ask list-objects "label: *$key" "${log_in[@]}" --list-objects
ask read-certificate '' "${log_in[@]}" --read-object --type cert --id "$id" --output-file certificate.der
ask read-public-key '' "${log_in[@]}" --read-object --type pubkey --id "$id" --output-file key.der
ask test 'No errors' "${log_in[@]}" --test
