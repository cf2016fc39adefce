#!/usr/bin/env bash
# usage: sign.sh [--cose] [--tsa URL]… [--tsa-root ROOT] [--no-timestamp] [--http] PROJECT/POLICY NAME@DIGEST…
#
# Signs container images (or any artifact in a registry) with Notary Project's notation and the plugin notation-signkit. The
# signature, a JWS envelope or with --cose a COSE one, goes into the registry (--http: one without TLS).
#
# Each signature gets a time-stamp (RFC 3161) from the first authority of --tsa, or of SIGNKIT_TSA_URL (several are separated by
# blanks), that gives one; notation wants to know the root certificate of that authority. The envelope must carry the whole chain
# of certificates: what the service does not tell is read from SIGNKIT_CERTIFICATE_CHAIN_FILE.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE). Needed: notation 1.3 or later; signkit.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
format=jws tsa=() tsa_root='' stamp=yes registry=()
while [[ ${1-} == --* ]]; do
  case $1 in
    --cose) format=cose ;;
    --tsa) tsa+=("${2-}"); shift ;;
    --tsa-root) tsa_root=${2-}; shift ;;
    --no-timestamp) stamp='' ;;
    --http) registry=(--insecure-registry) ;;
    *) usage ;;
  esac
  shift
done
[[ $# -ge 2 ]] || usage
key=$1
shift
for reference; do
  # What a tag points to can change between the build and this moment.
  [[ $reference == *@sha256:* ]] || { echo "sign.sh: $reference: name the image by its digest" >&2; exit 2; }
done

if [[ ${#tsa[@]} -eq 0 ]]; then read -ra tsa <<<"${SIGNKIT_TSA_URL-}"; fi
if [[ -z $stamp ]]; then
  tsa=()
elif [[ ${#tsa[@]} -eq 0 || ! -f $tsa_root ]]; then
  # Without one, the signature ends with the life of its certificate.
  echo "sign.sh: no time-stamp authority: give --tsa URL or SIGNKIT_TSA_URL, and --tsa-root ROOT; or say --no-timestamp" >&2
  exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A configuration of our own with the plugin in it; what the user's has, such as credentials of registries, is taken over.
# Instead, `notation plugin install --file /usr/lib/signkit/notation-signkit` puts it there for good.
plugin=$(dirname "${PKCS11_PROVIDER_MODULE:-/usr/lib/signkit/libsignkit-pkcs11.so}")/notation-signkit
mkdir -p "$work/notation"
own=${XDG_CONFIG_HOME:-${HOME-}/.config}/notation
if [[ -d $own ]]; then cp -r "$own/." "$work/notation"; fi
mkdir -p "$work/notation/plugins/signkit"
ln -sf "$plugin" "$work/notation/plugins/signkit/notation-signkit"
export XDG_CONFIG_HOME=$work

# An authority behind https may have a certificate of the same private CA as the service.
if [[ -n ${SIGNKIT_CA_FILE-} && "${tsa[*]}" == *https:* ]]; then
  cp "$SIGNKIT_CA_FILE" "$work/tls.pem"
  cat "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" >>"$work/tls.pem" 2>/dev/null || true # Debian's usual ones
  export SSL_CERT_FILE=$work/tls.pem
fi

sign() { # sign REFERENCE: once, whatever comes of it
  local url stamps=()
  if [[ ${#tsa[@]} -gt 0 ]]; then
    # notation asks the authority after the key has signed: so it gets the first that gives a time-stamp now.
    url=$(signkit tsa "${tsa[@]}") || return 1
    stamps=(--timestamp-url "$url" --timestamp-root-cert "$tsa_root")
  fi
  # Every setting can also be given here, as --plugin-config NAME=VALUE.
  notation sign --plugin signkit --id "$key" --signature-format "$format" "${stamps[@]}" "${registry[@]}" "$1" >&2 </dev/null
}

for reference; do
  sign "$reference" || { echo "sign.sh: notation did not sign $reference" >&2; exit 1; }
done
