#!/usr/bin/env bash
# usage: verify.sh --root ROOT (--tsa-chain CHAIN|--no-timestamp) [--tsa-years YEARS] CERTIFICATES blob FILE…
# usage: verify.sh --root ROOT (--tsa-chain CHAIN|--no-timestamp) [--tsa-years YEARS] [--http] CERTIFICATES image NAME@DIGEST…
#
# Verifies files (with FILE.sigstore.json beside them) or container images with cosign and public material alone.
# CERTIFICATES is a PEM file, as `signkit certificate PROJECT/POLICY --chain` writes it: the signer's certificate first, then its
# issuers. That chain must end at the root certificate in ROOT. CHAIN is a PEM file with the certificates of the time-stamp
# authority, from its own to its root, as authorities publish them. Warns when one of them has less than YEARS (default 9) to
# live.
# Needed: cosign 2.5 or later (any build), openssl.
set -euo pipefail

usage() { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
fail() { echo "verify.sh: $*" >&2; exit 1; }
root='' chain='' stamp=yes years=9 registry=()
while [[ ${1-} == --* ]]; do
  case $1 in
    --root) root=${2-}; shift ;;
    --tsa-chain) chain=${2-}; shift ;;
    --no-timestamp) stamp='' ;;
    --tsa-years) years=${2-}; shift ;;
    --http) registry=(--allow-http-registry) ;;
    *) usage ;;
  esac
  shift
done
[[ $# -ge 3 && ($2 == blob || $2 == image) && -f $root && (-z $stamp || -f $chain) ]] || usage
certificates=$1 kind=$2
shift 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Nothing that this machine trusts besides ROOT counts; OpenSSL before 3.0 knows no -no-CAstore.
alone=(-no-CAfile -no-CApath)
if { openssl verify -help 2>&1 || true; } | grep -e -no-CAstore >/dev/null; then alone+=(-no-CAstore); fi
openssl verify "${alone[@]}" -CAfile "$root" -untrusted "$certificates" "$certificates" >&2
# A web server's certificate signs nothing: where one says what it is for, that is code or e-mail.
purposes=$(openssl x509 -in "$certificates" -noout -text | grep -A 1 'X509v3 Extended Key Usage') || true
if [[ $purposes && ! $purposes =~ Code\ Signing|E-mail\ Protection|Any\ Extended\ Key\ Usage ]]; then
  fail "$certificates: the signer's certificate is not for code:${purposes##*:}"
fi
openssl x509 -in "$certificates" -noout -pubkey >"$work/key.pem"

authority=() stamps=()
if [[ $stamp ]]; then
  authority=(--tsa "url=https://localhost,certificate-chain=$chain") # the address has no meaning here
  stamps=(--use-signed-timestamps)
  awk -v prefix="$work/tsa-" '/BEGIN CERT/ { i++; file = prefix i ".pem" } file { print >file } /END CERT/ { file = "" }' "$chain"
  for certificate in "$work"/tsa-*.pem; do
    if openssl x509 -in "$certificate" -noout -checkend $((years * 365 * 86400)) >/dev/null; then continue; fi
    echo "verify.sh: warning: a certificate of the time-stamp authority ends at" \
      "$(openssl x509 -in "$certificate" -noout -enddate | cut -d= -f2); signatures may become invalid then." \
      "A good one has about 10 years or more to live: choose another authority" >&2
  done
fi

# Trust in the time-stamp authority and in nothing else; without such a file, cosign asks Sigstore for one.
cosign trusted-root create "${authority[@]}" --out "$work/trusted.json"

for subject; do
  case $kind in
    blob)
      cosign verify-blob --new-bundle-format --trusted-root "$work/trusted.json" --key "$work/key.pem" \
        --insecure-ignore-tlog "${stamps[@]}" --bundle "$subject.sigstore.json" "$subject" ||
        fail "$subject: not signed, not with this key, or not with a time-stamp of this authority"
      ;;
    image)
      if [[ $stamp ]]; then stamps=(--use-signed-timestamps --timestamp-certificate-chain "$chain"); fi
      cosign verify --private-infrastructure --key "$work/key.pem" "${stamps[@]}" "${registry[@]}" "$subject" ||
        fail "$subject: not signed, not with this key, or not with a time-stamp of this authority"
      ;;
  esac
done
