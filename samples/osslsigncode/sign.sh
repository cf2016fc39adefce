#!/usr/bin/env bash
# usage: sign.sh [--nest|--replace] [--tsa URL]… [--no-timestamp] [--via engine|provider] [--timeout SECONDS] PROJECT/POLICY FILE…
#
# Signs files for Windows (Authenticode) with osslsigncode: EXE, DLL and other PE files, MSI, CAB; PowerShell scripts (.ps1)
# from version 2.8 on. Each file is replaced, and only when it was signed. --nest adds a signature to those that a file has;
# without, a file that others have signed is refused, and --replace takes their signatures away.
#
# Each signature gets a time-stamp (RFC 3161) from the first authority of --tsa, or of SIGNKIT_TSA_URL (several are separated by
# blanks), that gives one. The signature carries the whole chain of certificates, as far as the service or
# SIGNKIT_CERTIFICATE_CHAIN_FILE knows it.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE); the PIN "CONFIG" says so to the module.
# Needed: osslsigncode, signkit; libp11's engine (libengine-pkcs11-openssl) or, from osslsigncode 2.10 on, pkcs11-provider.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
nest=() replace='' tsa=() stamp=yes via='' seconds=900
while [[ ${1-} == --* ]]; do
  case $1 in
    --nest) nest=(-nest) ;;
    --replace) replace=yes ;;
    --tsa) tsa+=("${2-}"); shift ;;
    --no-timestamp) stamp='' ;;
    --via) via=${2-}; shift ;;
    --timeout) seconds=${2-}; shift ;;
    *) usage ;;
  esac
  shift
done
[[ $# -ge 2 ]] || usage
key=$1
shift

if [[ ${#tsa[@]} -eq 0 ]]; then read -ra tsa <<<"${SIGNKIT_TSA_URL-}"; fi
if [[ -z $stamp ]]; then
  tsa=()
elif [[ ${#tsa[@]} -eq 0 ]]; then
  # Without one, the signature ends with the life of its certificate.
  echo "sign.sh: no time-stamp authority: give --tsa URL or SIGNKIT_TSA_URL, or say --no-timestamp" >&2
  exit 2
fi

# pkcs11-provider reads its own variable. -pkcs11module sets another one, and some other module would be asked.
module=${PKCS11_PROVIDER_MODULE:-/usr/lib/signkit/libsignkit-pkcs11.so}
export PKCS11_PROVIDER_MODULE=$module
# When something fails, osslsigncode says "failed to load private key"; the cause is what the module writes to stderr.
export SIGNPATH_LOG_CONSOLE_LEVEL=${SIGNPATH_LOG_CONSOLE_LEVEL:-error}

offers() { { osslsigncode sign --help 2>&1 || true; } | grep -e "$1" >/dev/null; }
if [[ -z $via ]]; then
  via=engine
  if offers ' -provider' && openssl list -provider pkcs11 -providers >/dev/null 2>&1; then via=provider; fi
fi
case $via in
  engine) with=(-pkcs11module "$module") ;;
  provider) with=(-provider pkcs11) ;;
  *) usage ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An authority behind https may have a certificate of the same private CA as the service.
tls=()
if [[ -n ${SIGNKIT_CA_FILE-} ]]; then
  if offers -HTTPS-CAfile; then
    cp "$SIGNKIT_CA_FILE" "$work/tls.pem"
    cat /etc/ssl/certs/ca-certificates.crt >>"$work/tls.pem" 2>/dev/null || true # Debian's place for the usual ones
    tls=(-HTTPS-CAfile "$work/tls.pem")
  else
    # Before 2.9 no CA can be named. A time-stamp is signed itself, and verify.sh checks that.
    tls=(-noverifypeer)
  fi
fi

signkit certificate "$key" --chain --output "$work/chain.pem"
# The key's name is its project and policy; a slash in a PKCS#11 URI is written %2F (RFC 7512).
uri="pkcs11:object=${key/\//%2F};type=private;pin-value=CONFIG"

sign() { # sign INPUT OUTPUT: once, whatever comes of it
  local url stamps=() installer=()
  # Without -add-msi-dse, the signature of an installer says nothing of its streams' names. --nest must do as those did who signed first.
  if [[ $(od -An -tx1 -N4 "$1" | tr -d ' ') == d0cf11e0 ]] &&
    { [[ ${#nest[@]} -eq 0 ]] || tr -d '\0' <"$1" | LC_ALL=C grep -a MsiDigitalSignatureEx >/dev/null; }; then
    installer=(-add-msi-dse)
  fi
  if [[ ${#tsa[@]} -gt 0 ]]; then
    # osslsigncode asks the authorities after the key has signed, and waits for ever for one that does not answer: so it gets the
    # first that gives a time-stamp now, and the others only should that one fail all the same.
    url=$(signkit tsa "${tsa[@]}") || return 1
    for url in "$url" "${tsa[@]}"; do stamps+=(-ts "$url"); done
  fi
  # -n TEXT and -i URL would add a description. Before 2.9, errors come on stdout.
  timeout "$seconds" osslsigncode sign "${with[@]}" -certs "$work/chain.pem" -key "$uri" -h sha256 \
    "${nest[@]}" "${installer[@]}" "${stamps[@]}" "${tls[@]}" -in "$1" -out "$2" >&2 || {
    [[ $? -ne 124 ]] || echo "sign.sh: no end after $seconds seconds (--timeout)" >&2
    return 1
  }
}

signed_by_others() { # signed_by_others FILE: its signature brings no certificate of this key, or nests others in itself
  rm -f "$work/old"
  osslsigncode extract-signature -pem -in "$1" -out "$work/old" >/dev/null 2>&1 || return 1
  [[ $(openssl pkcs7 -in "$work/old" -print_certs) != *"$(openssl x509 -in "$work/chain.pem")"* ]] ||
    openssl asn1parse -in "$work/old" | grep ':1\.3\.6\.1\.4\.1\.311\.2\.4\.1$' >/dev/null
}

for file; do
  if [[ ${#nest[@]} -eq 0 && -z $replace ]] && signed_by_others "$file"; then
    echo "sign.sh: others have signed $file: --nest adds a signature to theirs, --replace takes theirs away" >&2
    exit 1
  fi
  # osslsigncode tells scripts by their name, so the copy keeps it. --nest needs the signatures that are there.
  signed=$work/signed/$(basename "$file")
  mkdir -p "$work/signed"
  rm -f "$signed"
  if ! sign "$file" "$signed" || [[ ! -s $signed ]]; then
    echo "sign.sh: osslsigncode did not sign $file" >&2
    exit 1
  fi
  # Written next to the file, so that the last step is one rename.
  cp "$signed" "$file.part"
  chmod --reference="$file" "$file.part"
  mv "$file.part" "$file"
done
