#!/usr/bin/env bash
# usage: scripts/images.sh [--tools] [TAG…]      (debian-13, debian-13-core, debian-13-java …)
# Builds the images of images/matrix.json, all or the named ones: signkit:TAG with the tools and signkit, the full ones also as
# signkit:TAG-nonroot with a numeric user; signkit-verifier:TAG,
# the same tools without signkit; signkit-verifier:openssl-NAME, with openssl alone; and signkit-mockapi, the mock service.
# Run it after scripts/build.sh: binaries are copied in, never compiled inside. With --tools, what needs none of them is built and
# nothing else: signkit-verifier:TAG and, unless tags are named, signkit-verifier:openssl-NAME. That is where the time goes. A second
# call waits for the first.
#
# SIGNKIT_IMAGES="debian-12 rhel-9" (names of images/matrix.json, with blanks between) stands for "all": every variant of those.
# TAG… on the command line goes before it.
#
# Releases are built side by side, as many as there are processors, and one more.
#
# Prints each image's size over its base, and fails where one exceeds its budget. An image whose base cannot be had is left out:
# that is printed with the reason, kept in build/images/left-out/TAG, and a failure only for images that were named.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/goflags.sh
. scripts/goflags.sh

version=${VERSION:-$(sed -n 's/^VERSION := //p' Makefile)}
# Without buildx, newer clients warn about the classic builder; the Dockerfiles work with either.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
logs=build/images
left_out=$logs/left-out

# build TAG DOCKERFILE [ARGS…] sets built, the line to print. Images of tools alone get none of the repository's files sent.
build() {
  local tag=$1 file=$2 log=$logs/${1//[:\/]/-}.log start=$SECONDS proxy arguments=()
  local files=(--file "$file" .)
  shift 2
  if [[ " $* " == *" --target "* || $file == images/verifier/* ]]; then files=(-); fi
  for proxy in http_proxy https_proxy no_proxy; do
    if [[ -n ${!proxy-} ]]; then arguments+=(--build-arg "$proxy"); fi
  done
  if ! docker build --tag "$tag" "${arguments[@]}" "$@" "${files[@]}" <"$file" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "images.sh: building $tag failed (whole log: $log)" >&2
    return 1
  fi
  printf -v built 'built  %-32s %4d s' "$tag" $((SECONDS - start))
}

# over TAG BASE prints by how much an image is larger than its base, in millions of bytes.
over() { docker image inspect --format '{{.Size}}' "$1" "$2" | paste -sd ' ' | awk '{ printf "%d", ($1 - $2) / 1e6 }'; }

# release NAME builds all images of a release; the lines of scripts/matrix come on stdin. The exit status is not 0 if one is too
# large, or was named and is left out.
release() {
  local name=$1 status=0 base='' base_reason='' built size
  local tag variant family pins core full java frozen read_write budget reason arguments
  while IFS='|' read -r tag _ variant family pins core full java frozen read_write budget reason; do
    rm -f "$left_out/$tag"
    if [[ -z $reason && -z $base$base_reason ]] && ! base=$(scripts/base-image.sh "$name" </dev/null 2>"$logs/base-$name.log"); then
      base='' base_reason=$(tail -n 1 "$logs/base-$name.log" | sed 's/^base-image.sh: //')
      echo "left out  $name: $base_reason"
    elif [[ $reason && $reason != "$base_reason" ]]; then
      base_reason=$reason
      echo "left out  $name: $reason"
    fi
    if [[ -z $base ]]; then
      echo "$base_reason" >"$left_out/$tag"
      if [[ $named ]]; then status=1; fi
      continue
    fi
    arguments=(--build-arg "BASE_IMAGE=$base" --build-arg "PINS=$pins" --build-arg "CORE=$core" --build-arg "FULL=$full" --build-arg "JAVA=$java")
    if [[ $frozen ]]; then arguments+=(--build-arg "APT_OPTIONS=-o Acquire::Check-Valid-Until=false"); fi
    build "signkit-verifier:$tag" "images/$family/Dockerfile" --target packages "${arguments[@]}"
    echo "$built"
    if [[ $variant == core && ! ($tools_alone && $tags) ]]; then
      build "signkit-verifier:openssl-$name" images/verifier/Dockerfile --build-arg "BASE_IMAGE=$base"
      echo "$built"
    fi
    if [[ $tools_alone ]]; then continue; fi
    build "signkit:$tag" "images/$family/Dockerfile" "${arguments[@]}" \
      --build-arg "READ_WRITE_SESSIONS=$read_write" --build-arg "VERSION=$version"
    size=$(over "signkit:$tag" "$base")
    echo "$built, $size MB over its base (budget $budget)"
    if [[ $variant == full ]]; then
      build "signkit:$tag-nonroot" images/nonroot/Dockerfile --build-arg "BASE_IMAGE=signkit:$tag"
      echo "$built"
    fi
    if [[ $size -gt $budget ]]; then
      echo "images.sh: signkit:$tag is larger than its budget in images/matrix.json" >&2
      status=1
    fi
  done
  return "$status"
}

# chosen prints those lines of scripts/matrix whose release SIGNKIT_IMAGES names.
chosen() {
  local name known
  known=$(cut -d '|' -f 2 <<<"$lines" | uniq)
  for name; do
    grep -qxF -- "$name" <<<"$known" ||
      { echo "images.sh: SIGNKIT_IMAGES names \"$name\", which images/matrix.json does not have; it has ${known//$'\n'/ }" >&2; return 1; }
  done
  awk -F '|' -v names=" $* " 'index(names, " " $2 " ")' <<<"$lines"
}

tools_alone=
if [[ ${1-} == --tools ]]; then tools_alone=yes; shift; fi
mkdir -p "$left_out"
exec 9>"$logs/lock"
flock --wait 3600 9 || { echo "images.sh: another call has held $logs/lock for an hour" >&2; exit 1; }
tags=$* named=${1-}
lines=$(CGO_ENABLED=0 go run ./scripts/matrix builds "$@")
read -r -d '' -a wanted <<<"${SIGNKIT_IMAGES-}" || true
if [[ $# -eq 0 && ${#wanted[@]} -gt 0 ]]; then
  lines=$(chosen "${wanted[@]}")
  named=${wanted[0]}
  echo "SIGNKIT_IMAGES names ${wanted[*]}: no others are built"
fi
rm -f "$logs"/*.done
if [[ ! $tools_alone ]]; then
  for binary in libsignkit-pkcs11.so signkit-tokend signkit-scdaemon notation-signkit signkit signkit-mockapi; do
    if [[ ! -e build/$binary ]]; then scripts/build.sh; break; fi
  done
  build signkit-mockapi images/mockapi/Dockerfile --build-arg "VERSION=$version"
  echo "$built"
fi
mapfile -t names < <(cut -d '|' -f 2 <<<"$lines" | awk '!seen[$0]++')
for name in "${names[@]}"; do
  while [[ $(jobs -rp | wc -l) -gt $(nproc) ]]; do wait -n || true; done
  # Where a step fails, errexit ends the group before its last line.
  { release "$name" < <(awk -F '|' -v name="$name" '$2 == name' <<<"$lines"); touch "$logs/$name.done"; } &
done
wait
for name in "${names[@]}"; do [[ -e $logs/$name.done ]]; done
