#!/usr/bin/env bash
# usage: sign.sh [--sigalg ALGORITHM] [--tsa URL]… [--no-timestamp] PROJECT/POLICY JAR…
#
# Signs JAR files with jarsigner. Each file is replaced, and only when it was signed and verifies. Signatures of others stay.
#
# Each signature gets a time-stamp (RFC 3161) from the first authority of --tsa, or of SIGNKIT_TSA_URL (several are separated by
# blanks), that gives one. It carries the whole chain of certificates, which Java reads from the token, as far as the service or
# SIGNKIT_CERTIFICATE_CHAIN_FILE knows it.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE); the PIN "CONFIG" says so to the module.
# Needed: a JDK, 11 or later (jarsigner, keytool); signkit.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
sigalg='' tsa=() stamp=yes
while [[ ${1-} == --* ]]; do
  case $1 in
    --sigalg) sigalg=${2-}; shift ;;
    --tsa) tsa+=("${2-}"); shift ;;
    --no-timestamp) stamp='' ;;
    *) usage ;;
  esac
  shift
done
[[ $# -ge 2 ]] || usage
key=$1
shift
for jar; do
  [[ -f $jar ]] || { echo "sign.sh: $jar: no such file" >&2; exit 1; }
done

if [[ ${#tsa[@]} -eq 0 ]]; then read -ra tsa <<<"${SIGNKIT_TSA_URL-}"; fi
if [[ -z $stamp ]]; then
  tsa=()
elif [[ ${#tsa[@]} -eq 0 ]]; then
  # Without one, the signature ends with the life of its certificate.
  echo "sign.sh: no time-stamp authority: give --tsa URL or SIGNKIT_TSA_URL, or say --no-timestamp" >&2
  exit 2
fi

# When something fails, Java says "load failed"; the cause is what the module writes.
export SIGNPATH_LOG_CONSOLE_LEVEL=${SIGNPATH_LOG_CONSOLE_LEVEL:-error}
# Java reads all keys of the token before it uses one: show it only this one.
export SIGNPATH_PROJECT_SLUG=${key%%/*} SIGNPATH_SIGNING_POLICY_SLUG=${key#*/}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The token is slot 1 of the module.
cat >"$work/pkcs11.cfg" <<END
name = SignKit
library = ${PKCS11_PROVIDER_MODULE:-/usr/lib/signkit/libsignkit-pkcs11.so}
slot = 1
END
store=(-keystore NONE -storetype PKCS11 -storepass CONFIG
  -providerClass sun.security.pkcs11.SunPKCS11 -providerArg "$work/pkcs11.cfg")

# Releases of the JDK differ in the algorithm they take when none is named. --chain warns when an issuer is not known.
signkit certificate "$key" --chain --output "$work/chain.pem"
if [[ -z $sigalg ]]; then
  keytool -J-Duser.language=en -printcert -file "$work/chain.pem" >"$work/log"
  public=$(sed -n '/^Subject Public Key Algorithm: /{s///p;q}' "$work/log")
  case $public in
    *RSA*) sigalg=SHA256withRSA ;;
    *256*EC*) sigalg=SHA256withECDSA ;;
    *384*EC*) sigalg=SHA384withECDSA ;;
    *521*EC*) sigalg=SHA512withECDSA ;;
    *) echo "sign.sh: no idea how to sign with a key of the kind '$public': give --sigalg" >&2; exit 1 ;;
  esac
fi

# An authority behind https may have a certificate of the same private CA as the service.
java=(-J-Duser.language=en -J-Dsun.net.client.defaultReadTimeout=60000) # milliseconds, for an authority that does not answer
if [[ -n ${SIGNKIT_CA_FILE-} && "${tsa[*]}" == *https:* ]]; then
  awk -v prefix="$work/ca-" '/BEGIN CERT/ { i++; file = prefix i ".pem" } file { print >file } /END CERT/ { file = "" }' \
    "$SIGNKIT_CA_FILE"
  trust() { # beside what the JDK trusts, if anything
    local certificate
    for certificate in "$work"/ca-*.pem; do
      keytool -importcert -noprompt -alias "$certificate" -file "$certificate" -keystore "$work/trusted" -storepass changeit \
        >"$work/log" 2>&1 || return 1
    done
  }
  home=$(dirname "$(dirname "$(readlink -f "$(command -v keytool)")")")
  if cp "$home/lib/security/cacerts" "$work/trusted" 2>/dev/null; then chmod u+w "$work/trusted"; fi
  # The JDK's file may have another password.
  trust || { rm -f "$work/trusted" && trust; } || { cat "$work/log" >&2; exit 1; }
  java+=("-J-Djavax.net.ssl.trustStore=$work/trusted" -J-Djavax.net.ssl.trustStorePassword=changeit)
fi

# A name for each key: two of one project would else have one name, and the second signature would overwrite the first.
name=SK$(printf %s "$key" | sha256sum | tr a-f A-F)
name=${name:0:8}

sign() { # sign INPUT OUTPUT: once, whatever comes of it
  local url stamps=()
  if [[ ${#tsa[@]} -gt 0 ]]; then
    # jarsigner asks the authority after the key has signed: so it gets the first that gives a time-stamp now.
    url=$(signkit tsa "${tsa[@]}") || return 1
    stamps=(-tsa "$url" -tsadigestalg SHA-256)
  fi
  jarsigner "${java[@]}" "${store[@]}" -sigfile "$name" -sigalg "$sigalg" -digestalg SHA-256 "${stamps[@]}" -signedjar "$2" "$1" "$key" >&2
}

for jar; do
  signed=$work/signed.jar
  rm -f "$signed"
  sign "$jar" "$signed" || { echo "sign.sh: jarsigner did not sign $jar" >&2; exit 1; }
  jarsigner -J-Duser.language=en -verify "$signed" >"$work/log" 2>&1 || true
  if ! grep '^jar verified' "$work/log" >/dev/null; then
    cat "$work/log" >&2
    echo "sign.sh: the signature of $jar does not verify" >&2
    exit 1
  fi
  # Written next to the file, so that the last step is one rename.
  cp "$signed" "$jar.part"
  chmod --reference="$jar" "$jar.part"
  mv "$jar.part" "$jar"
done
