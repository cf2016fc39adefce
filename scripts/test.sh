#!/usr/bin/env bash
# usage: scripts/test.sh lint|unit|image|integration …
# Builds, runs the named parts, and ends with where the time went and one line: N passed, N failed, N skipped.
# With SIGNKIT_NO_SKIP=1 a skipped test fails, unless tests/allowed-skips.txt names it with its reason.
#
# "image" is integration's small brother: the images of debian-13 alone, and the tests of what is in them and of openssl and gpg.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/goflags.sh
. scripts/goflags.sh

[[ $# -gt 0 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
wanted=" $* "
wants() { [[ $wanted == *" $1 "* ]]; }
reports=build/reports
mkdir -p "$reports"
rm -f "$reports"/*.count "$reports"/*.time
no_containers=
if wants integration || wants image; then no_containers=${SIGNKIT_NO_ENGINE-}; fi
if wants image && ! wants integration; then export SIGNKIT_IMAGES=debian-13; fi

# --- the parts ------------------------------------------------------------------------------------------------------

lint() { scripts/lint.sh; }

# compile_tests makes what go vet, staticcheck and the unit tests all need, so that these can run side by side and not make it twice.
# Who cannot be compiled is said by each of them.
compile_tests() { GOFLAGS="$GOFLAGS -race" go list -export -deps -test ./... >/dev/null 2>&1 || true; }

unit() {
  # One package more than there are processors, since some wait more than they work.
  local packages options=(-race -timeout=8m -p="$(($(nproc) + 1))")
  if wants lint; then options+=(-vet=off); fi           # lint looks for all of that, and more
  # The one that takes longest first: what would begin last is waited for alone.
  packages=$(go list ./... | awk '/\/tests\/integration$/ { next } /\/module\/test$/ { longest = $0; next } { rest = rest "\n" $0 } END { print longest rest }')
  # Every program with the race detector would sleep for a second at its end.
  # shellcheck disable=SC2086
  GORACE=atexit_sleep_ms=0 count unit "${options[@]}" $packages
}

# fetch and pack make what the integration tests run in: the images, and tools that no distribution has. What needs nothing that
# is built here comes first, beside the build.
fetch() { scripts/images.sh --tools || true; } # what fails is tried once more, and said, by pack
pack() {
  local tools='' status=0
  if wants integration; then
    nice -n 10 scripts/container-tools.sh >/dev/null &
    tools=$!
  fi
  scripts/images.sh || status=1
  if [[ $tools ]]; then wait "$tools" || status=1; fi
  echo "images and tools: $SECONDS s after the start"
  return "$status"
}
packed() {
  local status=0
  if [[ ! $packing ]]; then return 0; fi
  wait "$packing" || status=1
  cat build/fetch.log build/pack.log
  return "$status"
}
image() {
  packed || return 1
  CGO_ENABLED=0 count image -count=1 -run='^Test(Binaries.*|ModuleExports|Image|ImagesHaveTheBuiltFiles|Versions|OpenSSL|OpenPGP)$' ./tests/integration
}
integration() {
  packed || return 1
  CGO_ENABLED=0 count integration -count=1 -timeout=45m ./tests/integration # each command in it has a limit of its own
}

count() { # count NAME GO-TEST-ARGUMENTS…
  local name=$1 options=()
  shift
  if [[ ${SIGNKIT_NO_SKIP-} == 1 ]]; then options=(--no-skip tests/allowed-skips.txt); fi
  build/testcount --count "$reports/$name.count" "${options[@]}" -- "$@"
}

# --- one after the other, or side by side ---------------------------------------------------------------------------

part() { # part NAME COMMAND…
  local name=$1 start=$SECONDS
  shift
  echo "--- $name"
  if ! "$@"; then
    # A part that ended before it could count is one failure.
    [[ -f $reports/$name.count ]] || echo "0 1 0" >"$reports/$name.count"
  fi
  echo "$name $((SECONDS - start)) s" >"$reports/$name.time"
}

packing='' linting=''
# A build that fails leaves nothing running.
# shellcheck disable=SC2046
trap '[[ -z $(jobs -rp) ]] || kill $(jobs -rp) 2>/dev/null || true' EXIT
# What waits for the network comes first. Whoever needs it waits for it, and says what is wrong with it.
if wants lint; then { scripts/venv.sh lint && scripts/venv.sh schemas; } >build/wheels.log 2>&1 & fi
if [[ -z $no_containers ]] && { wants integration || wants image; }; then
  fetch >build/fetch.log 2>&1 &
fi
part build scripts/build.sh
if [[ ! -f $reports/build.count ]]; then
  CGO_ENABLED=0 go build -o build/testcount ./scripts/testcount
  if [[ -z $no_containers ]] && { wants integration || wants image; }; then
    # Waits for the network and the disk most of the time, so the other parts go on meanwhile.
    pack >build/pack.log 2>&1 &
    packing=$!
  fi
  if wants lint && wants unit; then
    part compile compile_tests
    part lint lint >build/lint.log 2>&1 &
    linting=$!
  elif wants lint; then
    part lint lint
  fi
  if wants unit; then part unit unit; fi
  if [[ $linting ]]; then
    wait "$linting" || true
    cat build/lint.log
  fi
  if wants image; then part image image; fi
  if wants integration; then part integration integration; fi
fi

# --- the end --------------------------------------------------------------------------------------------------------

read -r passed failed skipped < <(cat "$reports"/*.count | awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }')
times=$(for name in build compile lint unit image integration; do cat "$reports/$name.time" 2>/dev/null || true; done | paste -sd , | sed 's/,/, /g')
echo "---"
if [[ $no_containers ]]; then echo "left out: all that needs containers ($no_containers)"; fi
echo "time: $times; $SECONDS s in all"
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
