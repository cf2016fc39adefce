#!/usr/bin/env bash
# usage: [MODULE_CC=gcc] [VERSION=0.1.0] [GOARCH=arm64] [OUTPUT=build] scripts/build.sh
# Builds the PKCS#11 module and every program of cmd/ into OUTPUT (build/). Without MODULE_CC the module, and the programs that load
# PKCS#11 modules, are compiled by scripts/zig.sh, so that they run with every glibc from 2.17 on; the other programs are static.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${VERSION:-$(sed -n 's/^VERSION := //p' Makefile)}
output=${OUTPUT:-build}
mkdir -p "$output"

compiler=${MODULE_CC:-$(scripts/zig.sh "${GOARCH:-$(uname -m)}")}

# Of the standard library nothing needs C: names and users are looked up in Go, in every program.
# Without build ids, and without what C compilers add for debuggers, the same sources give the same files everywhere.
flags=(-trimpath -buildvcs=false -tags "netgo,osusergo" -o "$output/"
  -ldflags "-s -w -buildid= -extldflags=-Wl,--strip-all -X signkit/internal/version.Version=$version")
static=() dynamic=()
for main in cmd/*/main.go; do
  [[ -f $main ]] || continue
  program=./$(dirname "$main")
  if CGO_ENABLED=1 go list -tags "netgo,osusergo" -deps "$program" | grep -x runtime/cgo >/dev/null; then
    dynamic+=("$program")
  else
    static+=("$program")
  fi
done
CGO_ENABLED=0 go build "${flags[@]}" "${static[@]}"
if [[ ${#dynamic[@]} -gt 0 ]]; then CGO_ENABLED=1 CC=$compiler go build "${flags[@]}" "${dynamic[@]}"; fi

scripts/build-module.sh --output "$output/libsignkit-pkcs11.so" --version "$version" --cc "$compiler"
chmod 0755 "$output/libsignkit-pkcs11.so"
