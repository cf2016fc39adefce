#!/usr/bin/env bash
# usage: [MODULE_CC=gcc] [VERSION=0.1.0] scripts/build.sh
# Builds the PKCS#11 module and every program of cmd/ into build/. Without MODULE_CC the module, and the programs that load
# PKCS#11 modules, are compiled by scripts/zig.sh, so that they run with every glibc from 2.17 on; the other programs are static.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${VERSION:-$(sed -n 's/^VERSION := //p' Makefile)}
mkdir -p build

compiler=${MODULE_CC:-$(scripts/zig.sh)}

# Of the standard library nothing needs C: names and users are looked up in Go, in every program.
flags=(-trimpath -buildvcs=false -tags netgo,osusergo -ldflags "-s -w -X signkit/internal/version.Version=$version" -o build/)
static=() dynamic=()
for main in cmd/*/main.go; do
  [[ -f $main ]] || continue
  program=./$(dirname "$main")
  if CGO_ENABLED=1 go list -tags netgo,osusergo -deps "$program" | grep -x runtime/cgo >/dev/null; then
    dynamic+=("$program")
  else
    static+=("$program")
  fi
done
CGO_ENABLED=0 go build "${flags[@]}" "${static[@]}"
if [[ ${#dynamic[@]} -gt 0 ]]; then CGO_ENABLED=1 CC=$compiler go build "${flags[@]}" "${dynamic[@]}"; fi

scripts/build-module.sh --output build/libsignkit-pkcs11.so --version "$version" --cc "$compiler"
chmod 0755 build/libsignkit-pkcs11.so
