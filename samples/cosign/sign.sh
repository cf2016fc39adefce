#!/usr/bin/env bash
# usage: sign.sh [--tsa URL]… [--no-timestamp] [--http] PROJECT/POLICY blob FILE…
# usage: sign.sh [--tsa URL]… [--no-timestamp] [--http] PROJECT/POLICY image NAME@sha256:DIGEST…
#
# Signs files or container images with cosign and a key, without Sigstore's public services: no transparency log, no Fulcio.
# A file's signature goes to FILE.sigstore.json, an image's into its registry (--http: one without TLS).
#
# Each signature gets a time-stamp (RFC 3161) from the first authority of --tsa, or of SIGNKIT_TSA_URL (several are separated by
# blanks), that gives one.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE); the PIN "CONFIG" says so to the module.
# Needed: cosign 2.5 or later, built with the tag pkcs11key (see README.md; distributions' and the usual releases are not); signkit.
set -euo pipefail

usage() { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
tsa=() stamp=yes registry=()
while [[ ${1-} == --* ]]; do
  case $1 in
    --tsa) tsa+=("${2-}"); shift ;;
    --no-timestamp) stamp='' ;;
    --http) registry=(--allow-http-registry) ;;
    *) usage ;;
  esac
  shift
done
[[ $# -ge 3 && ($2 == blob || $2 == image) ]] || usage
key=$1 kind=$2
shift 2
for subject; do
  case $kind in
    blob) [[ -f $subject ]] || { echo "sign.sh: $subject: no such file" >&2; exit 1; } ;;
    # What a tag points to can change between the build and this moment.
    image) [[ $subject == *@sha256:* ]] || { echo "sign.sh: $subject: name the image by its digest" >&2; exit 2; } ;;
  esac
done

if [[ ${#tsa[@]} -eq 0 ]]; then read -ra tsa <<<"${SIGNKIT_TSA_URL-}"; fi
if [[ -z $stamp ]]; then
  tsa=()
elif [[ ${#tsa[@]} -eq 0 ]]; then
  # Without one, nobody can tell later whether the signature was made while the certificate was valid.
  echo "sign.sh: no time-stamp authority: give --tsa URL or SIGNKIT_TSA_URL, or say --no-timestamp" >&2
  exit 2
fi

# cosign opens read/write sessions without need, and gives up on a token that is read-only.
export SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true
# When something fails, cosign names a number of PKCS#11; the cause is what the module writes.
export SIGNPATH_LOG_CONSOLE_LEVEL=${SIGNPATH_LOG_CONSOLE_LEVEL:-error}
# The path must be absolute. Module and PIN could be in the URI as well.
export COSIGN_PKCS11_MODULE_PATH=${PKCS11_PROVIDER_MODULE:-/usr/lib/signkit/libsignkit-pkcs11.so}
export COSIGN_PKCS11_PIN=CONFIG

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The key's name is its project and policy; a slash in a PKCS#11 URI is written %2F (RFC 7512). The token is slot 1.
options=(--yes --key "pkcs11:token=SignKit;slot-id=1;object=${key/\//%2F}" --tlog-upload=false)
if [[ $kind == blob ]]; then
  # A bundle is verified with the key or with the certificate, whichever it has: take the key.
  export COSIGN_PKCS11_IGNORE_CERTIFICATE=1
  command=(sign-blob --new-bundle-format)
else
  command=(sign --new-bundle-format=false "${registry[@]}")
fi
# From version 3 on, the addresses of Sigstore's services would be fetched first.
if cosign "${command[0]}" --help 2>&1 | grep -e --use-signing-config >/dev/null; then options+=(--use-signing-config=false); fi
# An authority behind https may have a certificate of the same private CA as the service.
if [[ -n ${SIGNKIT_CA_FILE-} && "${tsa[*]}" == *https:* ]]; then
  cp "$SIGNKIT_CA_FILE" "$work/tls.pem"
  cat /etc/ssl/certs/ca-certificates.crt >>"$work/tls.pem" 2>/dev/null || true # Debian's place for the usual ones
  options+=(--timestamp-client-cacert "$work/tls.pem")
fi

sign() { # sign SUBJECT [OPTION…]: once, whatever comes of it
  local url stamps=()
  if [[ ${#tsa[@]} -gt 0 ]]; then
    # cosign asks the authority after the key has signed: so it gets the first that gives a time-stamp now.
    url=$(signkit tsa "${tsa[@]}") || return 1
    stamps=(--timestamp-server-url "$url")
  fi
  # The time includes the retries of the signing service.
  cosign --timeout 15m "${command[@]}" "${options[@]}" "${stamps[@]}" "${@:2}" "$1" >&2 </dev/null
}

for subject; do
  if [[ $kind == image ]]; then
    sign "$subject" || { echo "sign.sh: cosign did not sign $subject" >&2; exit 1; }
    continue
  fi
  # A signature that is only half there must not look like one.
  rm -f "$subject.sigstore.json"
  if ! sign "$subject" --bundle "$work/bundle" || [[ ! -s $work/bundle ]]; then
    echo "sign.sh: cosign did not sign $subject" >&2
    exit 1
  fi
  cat "$work/bundle" >"$subject.sigstore.json.part"
  mv "$subject.sigstore.json.part" "$subject.sigstore.json"
  rm "$work/bundle"
done
