#!/usr/bin/env bash
# Builds the PKCS#11 module from pkcs11/module.
# usage: build-module.sh --output FILE [--version VERSION] [--library-dir DIR] [--cc "COMPILER ARGUMENTS"] [-- EXTRA_FLAGS…]
set -euo pipefail

usage() {
  sed -n '3s/^# //p' "$0" >&2
  exit 2
}

output='' version=dev library_dir=/usr/lib/signkit compiler=cc
while [ $# -gt 0 ]; do
  case "$1" in
    --output | --version | --library-dir | --cc) [ $# -ge 2 ] || usage ;;
  esac
  case "$1" in
    --output) output=$2; shift 2 ;;
    --version) version=$2; shift 2 ;;
    --library-dir) library_dir=$2; shift 2 ;;
    --cc) compiler=$2; shift 2 ;;
    --) shift; break ;;
    *) usage ;;
  esac
done
[ -n "$output" ] || usage

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../pkcs11/module" && pwd)
read -ra cc <<<"$compiler"

# Without -g0, Zig adds what debuggers read, with the paths of the machine that compiled.
# No fortified functions: musl has none, and the shipped file must load there too.
# -Bsymbolic: other libraries (p11-kit) export C_GetFunctionList too, and ours must not be taken for theirs.
"${cc[@]}" -std=gnu11 -O2 -g0 -fPIC -shared -fvisibility=hidden -fstack-protector-strong \
  -U_FORTIFY_SOURCE -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
  -DSIGNKIT_VERSION="\"$version\"" -DSIGNKIT_LIBRARY_DIR="\"$library_dir\"" \
  -Wl,-Bsymbolic -Wl,--version-script="$source_dir/exports.map" -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack \
  -Wl,-soname,libsignkit-pkcs11.so \
  "$@" -o "$output" "$source_dir"/*.c -lpthread -ldl
