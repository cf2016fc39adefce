#!/usr/bin/env bash
# usage: sign.sh PROJECT/POLICY REPOSITORY
#
# Signs the index of a yum or dnf repository: writes repodata/repomd.xml.asc beside the repomd.xml that createrepo_c made. Clients
# check it with repo_gpgcheck=1. The packages in it are signed on their own (samples/rpm).
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE). The public key for those who verify: signkit gpg export PROJECT/POLICY
# Needed: gpg, gpg-agent, signkit.
set -euo pipefail

[[ $# -eq 2 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
key=$1 index=$2/repodata/repomd.xml
[[ -f $index ]] || { echo "sign.sh: $index: no such file; make it with createrepo_c $2" >&2; exit 1; }

# A GNUPGHOME of its own, with the public key, and an agent that asks signkit's bridge; gone when this script ends.
setup=$(signkit gpg init "$key")
eval "$setup"

signers() { # signers FILE: the ids of the keys that have signed
  gpg --batch --list-packets "$1" 2>/dev/null | sed -n 's/^:signature packet: .*keyid //p' | sort -u
}
if [[ -e $index.asc && $(signers "$index.asc") != "${GPG_KEY_ID: -16}" ]]; then
  echo "sign.sh: $index.asc is no signature of $key: remove it first, if nobody needs it" >&2
  exit 1
fi

# A changed index must not be served with the signature of the one before.
rm -f "$index.asc"
if ! gpg --batch --yes --local-user "$GPG_KEY_ID" --armor --detach-sign --output "$index.asc.part" "$index"; then
  rm -f "$index.asc.part"
  signkit gpg status --errors >&2 || true # gpg does not say why; the bridge does
  exit 1
fi
mv "$index.asc.part" "$index.asc"
