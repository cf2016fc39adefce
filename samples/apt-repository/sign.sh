#!/usr/bin/env bash
# usage: sign.sh PROJECT/POLICY RELEASE
#
# Signs an apt repository: RELEASE is dists/SUITE/Release as `apt-ftparchive release` writes it. Puts InRelease (signed text) and
# Release.gpg (detached signature) beside it, both or none.
#
# apt of Debian 13 takes RSA keys from 2048 bits on and NIST curves, with SHA-256 or better, in the key's self-signature, too: with
# another key nothing is signed.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE). The public key for those who verify: signkit gpg export PROJECT/POLICY
# Needed: gpg, gpg-agent, signkit.
set -euo pipefail

[[ $# -eq 2 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
key=$1 release=$2
directory=$(dirname "$release")
[[ -f $release ]] || { echo "sign.sh: $release: no such file" >&2; exit 1; }

# A GNUPGHOME of its own, with the public key, and an agent that asks signkit's bridge; gone when this script ends.
setup=$(signkit gpg init "$key")
eval "$setup"

# The key's size, and the hash of the newest signature that it has made over its own user id (RFC 9580, section 9.5).
read -r algorithm bits hash < <(gpg --batch --quiet --with-colons --check-sigs "$GPG_KEY_ID" | awk -F: -v id="${GPG_KEY_ID: -16}" '
  $1 == "pub" { algorithm = $4; bits = $3 }
  $1 == "sig" && $5 == id && $11 ~ /^1[0-3]/ && $6 >= newest { newest = $6; hash = $16 }
  END { print algorithm, bits, hash }')
if [[ $algorithm == 1 && $bits -lt 2048 ]]; then
  echo "sign.sh: apt of Debian 13 refuses RSA keys of $bits bits; choose a policy with 3072 bits or more instead of $key" >&2
  exit 1
fi
if [[ $hash != 8 && $hash != 9 && $hash != 10 ]]; then
  echo "sign.sh: apt of Debian 13 refuses the key of $key, whose self-signature is no SHA-256 or better; signkit gpg extend renews it," \
    "and what it writes belongs into the signing service" >&2
  exit 1
fi

signers() { # signers FILE: the ids of the keys that have signed
  sed -n '/^-----BEGIN PGP SIGNATURE-----/,$p' "$1" | gpg --batch --list-packets 2>/dev/null | sed -n 's/^:signature packet: .*keyid //p' | sort -u
}
for signature in "$directory/InRelease" "$directory/Release.gpg"; do
  if [[ -e $signature && $(signers "$signature") != "${GPG_KEY_ID: -16}" ]]; then
    echo "sign.sh: $signature is no signature of $key: remove it first, if nobody needs it" >&2
    exit 1
  fi
done

# A repository whose Release has changed must not be served with the signature of the one before.
rm -f "$directory/InRelease" "$directory/Release.gpg"
sign() { # sign OUTPUT GPG-COMMAND…
  local output=$1
  shift
  if ! gpg --batch --yes --local-user "$GPG_KEY_ID" --digest-algo SHA512 --output "$output" "$@" "$release"; then
    rm -f "$directory"/.InRelease.part "$directory"/.Release.gpg.part
    signkit gpg status --errors >&2 || true # gpg does not say why; the bridge does
    exit 1
  fi
}
sign "$directory/.InRelease.part" --clear-sign
sign "$directory/.Release.gpg.part" --armor --detach-sign
mv "$directory/.Release.gpg.part" "$directory/Release.gpg"
mv "$directory/.InRelease.part" "$directory/InRelease"
