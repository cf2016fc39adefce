#!/usr/bin/env bash
# usage: [MODULE_CC=gcc] [VERSION=0.1.0] [GOARCH=arm64] [OUTPUT=build] scripts/build.sh [module|PROGRAM]…
# Builds the PKCS#11 module and every program of cmd/, or the named ones, into OUTPUT (build/). Without MODULE_CC the module, and
# the programs that load PKCS#11 modules, are compiled by scripts/zig.sh, so that they run with every glibc from 2.17 on; the other
# programs are static.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/goflags.sh
. scripts/goflags.sh

version=${VERSION:-$(sed -n 's/^VERSION := //p' Makefile)}
output=${OUTPUT:-build}
mkdir -p "$output"

module='' programs=()
if [[ $# -eq 0 ]]; then
  module=yes
  for main in cmd/*/main.go; do programs+=("./$(dirname "$main")"); done
fi
for name; do
  if [[ $name == module ]]; then module=yes; else programs+=("./cmd/$name"); fi
done

# Without build ids, and without what C compilers add for debuggers, the same sources give the same files everywhere.
flags=(-buildvcs=false -o "$output/"
  -ldflags "-s -w -buildid= -extldflags=-Wl,--strip-all -X signkit/internal/version.Version=$version")

static=() dynamic=()
if [[ ${#programs[@]} -gt 0 ]]; then
  listed=$(CGO_ENABLED=1 go list -f '{{.ImportPath}}{{range .Deps}}{{if eq . "runtime/cgo"}} {{.}}{{end}}{{end}}' "${programs[@]}")
  while read -r program c; do
    if [[ $c ]]; then dynamic+=("$program"); else static+=("$program"); fi
  done <<<"$listed"
fi

with_c() {
  local compiler
  compiler=${MODULE_CC:-$(scripts/zig.sh "${GOARCH:-$(uname -m)}")}
  if [[ $module ]]; then
    scripts/build-module.sh --output "$output/libsignkit-pkcs11.so" --version "$version" --cc "$compiler"
    chmod 0755 "$output/libsignkit-pkcs11.so"
  fi
  if [[ ${#dynamic[@]} -gt 0 ]]; then CGO_ENABLED=1 CC=$compiler go build "${flags[@]}" "${dynamic[@]}"; fi
}

# The compiler is fetched while Go is busy.
beside=
if [[ $module || ${#dynamic[@]} -gt 0 ]]; then
  with_c &
  beside=$!
  trap 'wait "$beside" || true' EXIT # it must not write into the messages of whatever comes after a failure
fi
if [[ ${#static[@]} -gt 0 ]]; then CGO_ENABLED=0 go build "${flags[@]}" "${static[@]}"; fi
if [[ $beside ]]; then wait "$beside"; fi
