#!/usr/bin/env bash
# openssl cms -sign with a key that is for RSASSA-PSS alone (SubjectPublicKeyInfo id-RSASSA-PSS) exits 0 and writes a
# signature that openssl cms -verify itself refuses, unless -keyopt rsa_padding_mode:pss is given: without it, the SignerInfo
# says rsaEncryption, while the key can only make PSS. openssl dgst and openssl req choose PSS for such a key by themselves.
# Seen with OpenSSL 3.0.22 (Debian 12, pinned below; also 3.0.19 and 3.6.5): "unsupported padding mode" on verification.
# Whoever signs releases with CMS has to verify what was written, or to give the option whenever the key is PSS.
set -euo pipefail

version=3.0.22-1~deb12u2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -q "openssl=$version" "libssl3=$version" >log 2>&1 || { cat log >&2; exit 2; }
for package in ./*.deb; do dpkg -x "$package" root; done
libraries=$(dirname "$(find "$work/root" -name libssl.so.3)")

openssl() { LD_LIBRARY_PATH=$libraries "$work/root/usr/bin/openssl" "$@"; }

openssl version
openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out key.pem 2>log
openssl req -x509 -key key.pem -subj /CN=Example -days 30 -out certificate.pem
echo release >file

sign() { openssl cms -sign -binary -in file -signer certificate.pem -inkey key.pem -md sha256 -outform der -out "$@"; }
verify() { openssl cms -verify -binary -inform der -in "$1" -content file -CAfile certificate.pem -purpose any -out /dev/null; }

sign plain.p7s
echo "openssl cms -sign without -keyopt: exit 0"
openssl cms -cmsout -print -noout -inform der -in plain.p7s | grep -A1 'signatureAlgorithm:' | grep 'algorithm: rsaEncryption'
if verify plain.p7s 2>log; then
  echo "changed: the signature without -keyopt verifies now" >&2
  exit 1
fi
grep -o 'unsupported padding mode' log | head -n 1

sign pss.p7s -keyopt rsa_padding_mode:pss
verify pss.p7s
