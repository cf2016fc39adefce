#!/usr/bin/env bash
# usage: scripts/container-tools.sh
# Builds cosign with PKCS#11 and notation, pinned by version and content, from the Go module proxy, and prints the folder they
# are in. They run with every glibc from 2.17 on and are built once per list of pins, under $SIGNKIT_CACHE_DIR (default
# ~/.cache/signkit). What keeps keys in clouds, clusters and forges, and two languages of policies, is left out of cosign: nine tenths
# of the code that would be compiled. Signing, verifying and PKCS#11 stay as they are.
set -euo pipefail
cd "$(dirname "$0")/.."

# module, version, checksum of the module's content (as in go.sum)
cosign='github.com/sigstore/cosign/v2 v2.6.5 h1:D7kFSWS2HzfD+LpEuBO89D1KfOAODlkWuuhzXS8yzi0='
notation='github.com/notaryproject/notation v1.3.2 h1:roSxDRZ+w8kIgxoxruhHpSVtVFwpfq2piuaMvOrPaco='

stand_ins=$PWD/scripts/testdata/cosign # for the packages that are left out
cache=${SIGNKIT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/signkit}/container-tools
folder=$cache/$(uname -m)-$(find scripts/container-tools.sh "$stand_ins" -type f | sort | xargs cat | sha256sum | cut -c1-12)
# Nothing of the standard library needs C, as in scripts/build.sh, whose compiled packages serve here, too.
export GOFLAGS=-mod=readonly
options=(-trimpath -buildvcs=false -tags "netgo,osusergo,pkcs11key" -ldflags "-s -w" -o "$folder/")

# source_of MODULE VERSION CHECKSUM prints the folder of the module's source. It is no part of this repository's module; what it
# needs is pinned in its own go.sum.
source_of() {
  local found
  found=$(cd / && go mod download -json "$1@$2")
  if ! grep -F "\"Sum\": \"$3\"" <<<"$found" >/dev/null; then
    echo "container-tools.sh: $1@$2 is not what was pinned" >&2
    return 1
  fi
  sed -n 's/^[[:space:]]*"Dir": "\(.*\)",$/\1/p' <<<"$found"
}

build_cosign() {
  local source compiler
  # shellcheck disable=SC2086
  source=$(source_of $cosign)
  compiler=$(scripts/zig.sh)
  cp -R "$source" "$work/cosign"
  chmod -R u+w "$work/cosign"
  cd "$work/cosign"
  rm pkg/cosign/{cue,rego,kubernetes,git/github,git/gitlab}/*.go pkg/policy/eval.go
  cp -R "$stand_ins"/. .
  sed -i -E '/\/kms\/(aws|azure|gcp|hashivault)"/d' cmd/cosign/main.go
  sed -i -E '/\/providers\/(buildkite|google|spiffe)"/d' pkg/providers/all/all.go
  sed -i -E '/"github.com\/(awslabs|chrismellard|mozillazg)\/|\/pkg\/v1\/google"/d; /^\t*(google\.Keychain|authn\.NewKeychainFromHelper\(.*\)),$/d' \
    cmd/cosign/cli/options/registry.go
  CGO_ENABLED=1 CC=$compiler go build "${options[@]}" ./cmd/cosign
}

build_notation() {
  local source
  # shellcheck disable=SC2086
  source=$(source_of $notation)
  cd "$source"
  CGO_ENABLED=0 go build "${options[@]}" ./cmd/notation
}

mkdir -p "$cache"
exec 9>"$folder.lock"
# Two calls at a time build once.
flock --wait 3600 9 || { echo "container-tools.sh: another call has held $folder.lock for an hour" >&2; exit 1; }
if [[ ! -f $folder/complete ]]; then
  mkdir -p "$folder"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  echo "container-tools.sh: building cosign and notation into $folder" >&2
  # Subshells, for their working directories; not in a condition, which would turn errexit off.
  (build_cosign) >&2
  (build_notation) >&2
  touch "$folder/complete"
fi
echo "$folder"
