#!/usr/bin/env bash
# usage: sign.sh PROJECT/POLICY tag NAME [COMMIT] | sign.sh PROJECT/POLICY commit [GIT-COMMIT-OPTION…]
#
# Makes a signed tag of COMMIT (default HEAD) or a signed commit of what is staged, in the git repository of the current folder.
# `commit --amend --no-edit` signs the last commit.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE). The public key for those who verify: signkit gpg export PROJECT/POLICY
# Needed: git, gpg, gpg-agent, signkit.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
[[ $# -ge 2 ]] || usage
key=$1 what=$2
shift 2
case $what in
  tag)
    [[ $# -eq 1 || $# -eq 2 ]] || usage
    sign=(tag --sign --message "$1" "$1" "${2:-HEAD}")
    object=refs/tags/$1
    ;;
  commit)
    sign=(commit --gpg-sign "$@")
    object=HEAD
    ;;
  *) usage ;;
esac

# A GNUPGHOME of its own, with the public key, and an agent that asks signkit's bridge; gone when this script ends.
setup=$(signkit gpg init "$key")
eval "$setup"

if ! git -c gpg.format=openpgp -c gpg.program=gpg -c "user.signingKey=$GPG_KEY_ID" "${sign[@]}" </dev/null; then
  signkit gpg status --errors >&2 || true # git does not say why; the bridge does
  exit 1
fi
git cat-file -p "$object" | grep -q -e '-----BEGIN PGP SIGNATURE-----' ||
  { echo "sign.sh: git made $object without a signature" >&2; exit 1; }
