#!/usr/bin/env bash
# usage: [VERSION=0.1.0] [SOURCE_DATE_EPOCH=SECONDS] scripts/package.sh BUILD amd64|arm64 OUTPUT [tar.gz|deb|rpm]…
# Packs what scripts/build.sh has built into BUILD for that architecture: a tarball, a .deb and an .rpm package, into OUTPUT.
# The same files and the same SOURCE_DATE_EPOCH (default: the time of the last commit) give the same packages.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
[[ $# -ge 3 && $2 =~ ^(amd64|arm64)$ ]] || usage
formats=("${@:4}")
[[ $# -gt 3 ]] || formats=(tar.gz deb rpm)
for format in "${formats[@]}"; do [[ $format =~ ^(tar\.gz|deb|rpm)$ ]] || usage; done
mkdir -p "$3"
build=$(realpath "$1") arch=$2 output=$(realpath "$3")
cd "$(dirname "$0")/.."
# shellcheck source=scripts/goflags.sh
. scripts/goflags.sh

version=${VERSION:-$(sed -n 's/^VERSION := //p' Makefile)}
if [[ -z ${SOURCE_DATE_EPOCH-} ]]; then
  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) ||
    { echo "package.sh: this is no git checkout; set SOURCE_DATE_EPOCH to the seconds that all files get as their time" >&2; exit 1; }
fi
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C

umask 022 # folders, too, have the same mode everywhere
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=signkit-$version-linux-$arch
stage=$work/$name

# --- the files, as under /usr ---------------------------------------------------------------------------------------

put() { install -D -m "$1" "$2" "$stage/$3"; } # put MODE FILE PATH

put 0755 "$build/signkit" bin/signkit
put 0755 "$build/signkit-mockapi" bin/signkit-mockapi # the tarball's alone: for trying out
for program in signkit-tokend signkit-scdaemon notation-signkit; do put 0755 "$build/$program" "lib/signkit/$program"; done
put 0755 "$build/libsignkit-pkcs11.so" lib/signkit/libsignkit-pkcs11.so
ln -s libsignkit-pkcs11.so "$stage/lib/signkit/libSignPath.Cryptoki.so"
put 0644 images/common/signkit.module share/p11-kit/modules/signkit.module
for file in openssl-engine.cnf openssl-provider.cnf signkit-gpg.sh; do put 0644 "images/common/$file" "share/signkit/$file"; done

# What is not committed stays out, where that can be told.
list() {
  if [[ $(git rev-parse --show-toplevel 2>/dev/null) == "$PWD" ]]; then git ls-files -- "$@"; else find "$@" -type f; fi
}
while read -r file; do
  mode=0644
  if [[ -x $file ]]; then mode=0755; fi
  put "$mode" "$file" "share/signkit/$file"
done < <(list samples)
while read -r file; do put 0644 "$file" "share/doc/signkit/$file"; done < <(list README.md CHANGELOG.md LICENSE docs)
if [[ -f $build/signkit.cdx.json ]]; then put 0644 "$build/signkit.cdx.json" share/doc/signkit/signkit.cdx.json; fi

put 0644 packaging/completion.bash share/bash-completion/completions/signkit

find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

# --- the packages ---------------------------------------------------------------------------------------------------

for format in "${formats[@]}"; do
  if [[ $format == tar.gz ]]; then
    tar --create --directory "$work" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu \
      --mtime="@$SOURCE_DATE_EPOCH" "$name" | gzip --best --no-name >"$output/$name.tar.gz"
    continue
  fi
  # Compiled like the programs of scripts/build.sh, and so with the same compiled standard library.
  STAGE=$stage ARCH=$arch VERSION=$version CGO_ENABLED=0 \
    go tool -modfile=scripts/tools.mod nfpm package --config packaging/nfpm.yaml --packager "$format" --target "$output" >&2
done
