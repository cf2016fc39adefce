#!/usr/bin/env bash
# usage: scripts/fuzz-module.sh --output FILE [--libfuzzer]
# Builds the module with a token process that answers anything (pkcs11/module/fuzz), under AddressSanitizer and UBSan:
# with clang and libFuzzer, or with cc and a main that replays the files it is given.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
output='' main=replay.c compiler=(cc) sanitizers=address,undefined
while [[ $# -gt 0 ]]; do
  case $1 in
    --output) [[ $# -ge 2 ]] || usage; output=$2; shift 2 ;;
    --libfuzzer) main='' compiler=(clang) sanitizers+=,fuzzer; shift ;;
    *) usage ;;
  esac
done
[[ -n $output ]] || usage

source_dir=$(cd "$(dirname "$0")/../pkcs11/module" && pwd)
wrapped=()
for name in spawn_token_process reap_token_process complain sendmsg recvmsg recv; do wrapped+=("-Wl,--wrap=$name"); done
"${compiler[@]}" -std=gnu11 -O1 -g -fno-omit-frame-pointer -Wall -Wextra -Werror -fsanitize="$sanitizers" -fno-sanitize-recover=all \
  "${wrapped[@]}" -o "$output" "$source_dir"/*.c "$source_dir"/fuzz/replies.c ${main:+"$source_dir/fuzz/$main"} -lpthread -ldl
