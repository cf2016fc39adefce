#!/usr/bin/env bash
# usage: [VERSION=0.1.0] [SOURCE_DATE_EPOCH=SECONDS] scripts/dist.sh [amd64] [arm64]
# Makes everything that a release has, in build/dist: for each architecture (default: both) a tarball, a .deb and an .rpm
# package; a CycloneDX list of what is inside; SHA256SUMS. The same commit gives the same files on every machine.
set -euo pipefail
cd "$(dirname "$0")/.."

architectures=("$@")
[[ $# -gt 0 ]] || architectures=(amd64 arm64)
for arch in "${architectures[@]}"; do
  [[ $arch =~ ^(amd64|arm64)$ ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
done
version=${VERSION:-$(sed -n 's/^VERSION := //p' Makefile)}
export VERSION=$version
unset MODULE_CC # releases are built by one compiler

rm -rf build/dist build/release
mkdir -p build/dist
sbom=build/dist/signkit-$version.cdx.json
# The list names the tool that made it, with its hashes: without -trimpath they tell where it was compiled.
GOFLAGS=-trimpath go tool -modfile=scripts/tools.mod cyclonedx-gomod mod -json -noserial -notimestamp -licenses -std -output - . |
  sed -E -e '/^ *"name": "signkit",$/ { s|^( *)(.*)$|\1\2\n\1"version": "v'"$version"'",\n\1"licenses": [{ "license": { "id": "Apache-2.0" } }],|; n; /"version"/d }' \
    -e "s|pkg:golang/signkit(@[^?]*)?\?|pkg:golang/signkit@v$version?|g" >"$sbom"

for arch in "${architectures[@]}"; do
  GOARCH=$arch OUTPUT=build/release/$arch scripts/build.sh
  cp "$sbom" "build/release/$arch/signkit.cdx.json"
  scripts/package.sh "build/release/$arch" "$arch" build/dist
done
cd build/dist
sums=$(sha256sum -- *)
echo "$sums" | tee SHA256SUMS
