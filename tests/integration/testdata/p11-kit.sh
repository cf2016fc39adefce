#!/usr/bin/env bash
# usage: p11-kit.sh PROJECT/POLICY     (in the current folder)
# Uses the token as programs do that are told of no module: GnuTLS' p11tool and p11-kit's proxy know it by the installed file.
# Prints "QUESTION yes" lines; the signature made through the proxy stays in file.sig, the certificate in certificate.pem.
set -euo pipefail

key=$1
object="object=${key/\//%2F}"

ask() { # ask NAME EXPECTED COMMAND…
  local name=$1 expected=$2 status=0
  shift 2
  "$@" >"out.$name" 2>&1 || status=$?
  if [[ $status -eq 0 ]] && grep -q -e "$expected" "out.$name"; then
    echo "$name yes"
  else
    echo "$name no"
    sed "s/^/$name ($status): /" "out.$name" >&2
  fi
}

url=$(p11tool --list-token-urls | grep 'manufacturer=signkit' | head -n 1)
p11tool=(p11tool --login --set-pin=CONFIG)
ask finds-token 'pkcs11:' echo "$url"
ask list-all "$object;type=private" "${p11tool[@]}" --list-all "$url"
ask test-sign ok "${p11tool[@]}" --test-sign "$url;$object;type=private"
ask export 'BEGIN CERTIFICATE' "${p11tool[@]}" --export "$url;$object;type=cert"
"${p11tool[@]}" --export "$url;$object;type=cert" >certificate.pem

proxy=$(find /usr/lib -name p11-kit-proxy.so | head -n 1)
echo "what is to be signed" >file
openssl dgst -sha256 -binary -out hash file
case $key in
  */rsa-*) mechanism=SHA256-RSA-PKCS input=file options=() ;;
  *) mechanism=ECDSA input=hash options=(--signature-format openssl) ;;
esac
label=$(printf '%b' "$(sed -n 's/.*;token=\([^;]*\).*/\1/p' <<<"$url" | sed 's/%/\\x/g')")
ask proxy '' pkcs11-tool --module "$proxy" --token-label "$label" --login --pin CONFIG --sign --mechanism "$mechanism" \
  --id "$(printf %s "$key" | od -An -v -tx1 | tr -d ' \n')" "${options[@]}" --input-file "$input" --output-file file.sig
