#!/usr/bin/env bash
# usage: scripts/images.sh [NAME…]
# Builds the images of images/matrix.json (all, or the named ones): signkit:NAME with the tools and signkit-verifier:NAME
# to verify in; and signkit-mockapi, the mock service.
# Run it after scripts/build.sh: binaries are copied in, never compiled inside.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${VERSION:-$(sed -n 's/^VERSION := //p' Makefile)}
# Without buildx, newer clients warn about the classic builder; the Dockerfiles work with either.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0

[[ -x build/signkit-tokend ]] || scripts/build.sh

# matrix prints one line per image: name, family, packages.
matrix() { go run ./scripts/matrix images/matrix.json "$@"; }

build() { # build TAG DOCKERFILE [ARGS…]
  local tag=$1 file=$2 log=build/images/${1//[:\/]/-}.log start=$SECONDS proxy arguments=()
  shift 2
  for proxy in http_proxy https_proxy no_proxy; do
    if [[ -n ${!proxy-} ]]; then arguments+=(--build-arg "$proxy"); fi
  done
  mkdir -p build/images
  if ! docker build --tag "$tag" --file "$file" --build-arg "VERSION=$version" "${arguments[@]}" "$@" . >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "images.sh: building $tag failed (whole log: $log)" >&2
    return 1
  fi
  printf 'built  %-22s %4d s\n' "$tag" $((SECONDS - start))
}

lines=$(matrix "$@")
build signkit-mockapi images/mockapi/Dockerfile
while IFS=$'\t' read -r name family packages; do
  base=$(scripts/base-image.sh "$name")
  build "signkit-verifier:$name" images/verifier/Dockerfile --build-arg "BASE_IMAGE=$base"
  build "signkit:$name" "images/$family/Dockerfile" --build-arg "BASE_IMAGE=$base" --build-arg "PACKAGES=$packages"
done <<<"$lines"
