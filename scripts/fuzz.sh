#!/usr/bin/env bash
# usage: [FUZZTIME=60s] scripts/fuzz.sh [--keep] [NAME]
# Runs every fuzz target, or those whose folder and name contain NAME, for FUZZTIME each, one after another; a line for each.
#
# Targets are the Go fuzz tests and pkcs11/module/fuzz (C, libFuzzer). An input that fails is left where `make test` runs it
# again: testdata/fuzz/TARGET of the package, or pkcs11/module/fuzz/corpus. Those that reached new code are where the next run
# begins: in Go's build cache, or build/fuzz/replies; with --keep the latter join the C corpus, which sanitizers replay.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
keep='' name='' time=${FUZZTIME:-60s}
if [[ ${1-} == --keep ]]; then keep=yes; shift; fi
if [[ $# -gt 0 ]]; then name=$1; shift; fi
[[ $# -eq 0 && $name != -* ]] || usage
seconds=0
if [[ $time =~ ^(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?$ ]]; then
  seconds=$((10#${BASH_REMATCH[2]:-0} * 3600 + 10#${BASH_REMATCH[4]:-0} * 60 + 10#${BASH_REMATCH[6]:-0}))
fi
[[ $seconds -gt 0 ]] || { echo "fuzz.sh: FUZZTIME is $time; a time looks like 60s or 5m" >&2; exit 2; }

work=build/fuzz
largest=4096 # bytes of a reply
failed=0 found=0
mkdir -p "$work/replies"

report() { # report STATUS TARGET LINE LOG: shows the end of the log where the status is not 0
  found=$((found + 1))
  if [[ $1 -eq 0 ]]; then
    printf 'pass  %-45s %s\n' "$2" "$3"
  else
    failed=$((failed + 1))
    printf 'FAIL  %-45s %s\n' "$2" "$3"
    tail -n 60 "$4"
  fi
}

go_target() { # go_target FOLDER TARGET
  local log=$work/$2.log status
  # golang.org/issue/75804: now and then the end of the time is taken for a failure, without an input. That is repeated once.
  for attempt in 1 2; do
    status=0
    go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" "./$1" >"$log" 2>&1 || status=$?
    if [[ $status -eq 0 || $attempt -eq 2 ]] || grep -q 'Failing input' "$log" || ! grep -q '^ *context deadline exceeded$' "$log"; then break; fi
    echo "again $1 $2: $(grep -m 1 'context deadline exceeded' "$log")"
  done
  report "$status" "$1 $2" "$(sed -n 's/^fuzz: elapsed: //; s, ([0-9]*/sec),,p' "$log" | tail -n 1)" "$log"
}

replies_target() {
  local log=$work/replies.log status=0 corpus=pkcs11/module/fuzz/corpus
  {
    scripts/fuzz-module.sh --output "$work/fuzz-replies" --libfuzzer &&
      "$work/fuzz-replies" -max_total_time="$seconds" -max_len="$largest" -print_final_stats=1 -artifact_prefix="$corpus/" \
        "$work/replies" "$corpus"
  } >"$log" 2>&1 || status=$?
  report "$status" "pkcs11/module/fuzz replies" "$(sed -n 's/^Done //p' "$log" | tail -n 1)" "$log"
  if [[ $keep && $status -eq 0 ]]; then
    "$work/fuzz-replies" -merge=1 -use_counters=0 -max_len="$largest" "$corpus" "$work/replies" >"$log" 2>&1
  fi
}

mapfile -t targets < <(git grep -oE --untracked '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed -E 's,/[^/]*:func , ,')
for target in "${targets[@]}"; do
  if [[ $target == *"$name"* ]]; then go_target "${target% *}" "${target#* }"; fi
done
if [[ "pkcs11/module/fuzz replies" == *"$name"* ]]; then replies_target; fi

[[ $found -gt 0 ]] || { echo "fuzz.sh: no fuzz target is called $name" >&2; exit 1; }
[[ $failed -eq 0 ]]
