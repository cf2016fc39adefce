#!/usr/bin/env bash
# usage: [MODULE_CC=gcc] [VERSION=0.1.0] scripts/build.sh
# Builds the PKCS#11 module and every program of cmd/ into build/. Without MODULE_CC the module is compiled by
# scripts/zig.sh, so that it runs with every glibc from 2.17 on; the programs are static.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${VERSION:-$(sed -n 's/^VERSION := //p' Makefile)}
mkdir -p build

programs=()
for main in cmd/*/main.go; do
  [[ -f $main ]] && programs+=("./$(dirname "$main")")
done
CGO_ENABLED=0 go build -trimpath -buildvcs=false \
  -ldflags "-s -w -X signkit/internal/version.Version=$version" -o build/ "${programs[@]}"

compiler=${MODULE_CC:-$(scripts/zig.sh)}
scripts/build-module.sh --output build/libsignkit-pkcs11.so --version "$version" --cc "$compiler"
chmod 0755 build/libsignkit-pkcs11.so
