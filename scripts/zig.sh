#!/usr/bin/env bash
# usage: scripts/zig.sh [amd64|arm64]
# Prints the command (one path, no arguments) of a C compiler whose output runs with glibc 2.17 and later, on any host.
# It is Zig's clang from a pinned wheel; the first compilation builds libc stubs (about 20 s), later ones reuse them.
set -euo pipefail

case ${1:-$(uname -m)} in
  amd64 | x86_64) target=x86_64-linux-gnu.2.17 ;;
  arm64 | aarch64) target=aarch64-linux-gnu.2.17 ;;
  *) sed -n '2s/^# //p' "$0" >&2; exit 2 ;;
esac

here=$(cd "$(dirname "$0")" && pwd)
bin=$("$here/venv.sh" zig)
zig=$(echo "$bin"/../lib/python3*/site-packages/ziglang/zig)
wrapper=$bin/zig-cc-${target%%-*}

if [[ ! -x $wrapper ]]; then
  # -fno-sanitize=all: Zig otherwise links its own UBSan runtime, which needs files, threads and sockets.
  cat >"$wrapper.$$" <<WRAPPER
#!/bin/sh
export ZIG_GLOBAL_CACHE_DIR='${bin%/bin}/cache' ZIG_LOCAL_CACHE_DIR='${bin%/bin}/cache'
exec '$(realpath "$zig")' cc -target $target -fno-sanitize=all "\$@"
WRAPPER
  chmod 0755 "$wrapper.$$"
  mv "$wrapper.$$" "$wrapper"
fi
echo "$wrapper"
