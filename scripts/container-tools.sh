#!/usr/bin/env bash
# usage: scripts/container-tools.sh
# Builds cosign with PKCS#11 and notation, pinned by version and content, from the Go module proxy, and prints the folder they
# are in. They run with every glibc from 2.17 on and are built once per list of pins (cosign takes 3 to 7 minutes on 2 cores),
# under $SIGNKIT_CACHE_DIR (default ~/.cache/signkit).
set -euo pipefail
cd "$(dirname "$0")/.."

# module, version, checksum of the module's content (as in go.sum), package
pins='
github.com/sigstore/cosign/v2        v2.6.5 h1:D7kFSWS2HzfD+LpEuBO89D1KfOAODlkWuuhzXS8yzi0= ./cmd/cosign
github.com/notaryproject/notation    v1.3.2 h1:roSxDRZ+w8kIgxoxruhHpSVtVFwpfq2piuaMvOrPaco= ./cmd/notation
'
cache=${SIGNKIT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/signkit}/container-tools
folder=$cache/$(uname -m)-$(sha256sum <<<"$pins" | cut -c1-12)
mkdir -p "$cache"

exec 9>"$folder.lock"
flock 9 # two calls at a time build once
if [[ ! -f $folder/complete ]]; then
  mkdir -p "$folder"
  CC=$(scripts/zig.sh)
  export CC CGO_ENABLED=1 GOFLAGS=-mod=readonly
  while read -r module version sum package; do
    [[ -n $module ]] || continue
    echo "container-tools.sh: building $(basename "$package") $version into $folder" >&2
    # Outside of this repository's module; what the module needs is pinned in its own go.sum.
    found=$(cd / && go mod download -json "$module@$version")
    if ! grep -F "\"Sum\": \"$sum\"" <<<"$found" >/dev/null; then
      echo "container-tools.sh: $module@$version is not what was pinned" >&2
      exit 1
    fi
    source=$(sed -n 's/^[[:space:]]*"Dir": "\(.*\)",$/\1/p' <<<"$found")
    (cd "$source" && go build -trimpath -buildvcs=false -tags=pkcs11key -ldflags '-s -w' -o "$folder/" "$package") >&2
  done <<<"$pins"
  touch "$folder/complete"
fi
echo "$folder"
