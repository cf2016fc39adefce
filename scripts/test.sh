#!/usr/bin/env bash
# usage: scripts/test.sh lint|unit|integration …
# Builds, runs the named parts, and ends with where the time went and one line: N passed, N failed, N skipped.
# With SIGNKIT_NO_SKIP=1 a skipped test fails, unless tests/allowed-skips.txt names it with its reason.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $# -gt 0 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
reports=build/reports
mkdir -p "$reports"
rm -f "$reports"/*.count

lint() { scripts/lint.sh; }
unit() {
  local packages
  packages=$(go list ./... | grep -v '/tests/integration$')
  # shellcheck disable=SC2086
  count unit -race $packages
}
# fetch_and_pack makes what the integration tests run in: the images, and tools that no distribution has.
fetch_and_pack() {
  local tools status=0
  nice -n 10 scripts/container-tools.sh >/dev/null &
  tools=$!
  scripts/images.sh || status=1
  wait "$tools" || status=1
  echo "images and tools: $SECONDS s after the start"
  return "$status"
}
integration() {
  if [[ $packing ]]; then
    local status=0
    wait "$packing" || status=1
    cat build/images.log
    if [[ $status -ne 0 ]]; then return 1; fi
  fi
  count integration -count=1 -timeout 60m ./tests/integration
}
count() { # count NAME GO-TEST-ARGUMENTS…
  local name=$1 options=()
  shift
  if [[ ${SIGNKIT_NO_SKIP-} == 1 ]]; then options=(--no-skip tests/allowed-skips.txt); fi
  build/testcount --count "$reports/$name.count" "${options[@]}" -- "$@"
}

broken=0 times="" packing=""
part() { # part NAME COMMAND…
  local name=$1 start=$SECONDS
  shift
  echo "--- $name"
  if ! "$@"; then
    # A part that ended before it could count is one failure.
    [[ -f $reports/$name.count ]] || echo "0 1 0" >"$reports/$name.count"
  fi
  times+="$name $((SECONDS - start)) s, "
}

part build scripts/build.sh
if [[ -f $reports/build.count ]]; then
  broken=1
else
  go build -o build/testcount ./scripts/testcount
  if [[ -z ${SIGNKIT_NO_ENGINE-} && " $* " == *" integration "* ]]; then
    # Waits for the network and the disk most of the time, so the other parts go on meanwhile.
    fetch_and_pack >build/images.log 2>&1 &
    packing=$!
  fi
  for name; do part "$name" "$name"; done
fi

read -r passed failed skipped < <(cat "$reports"/*.count | awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }')
echo "---"
if [[ -n ${SIGNKIT_NO_ENGINE-} && " $* " == *" integration "* ]]; then echo "left out: all that needs containers ($SIGNKIT_NO_ENGINE)"; fi
echo "time: ${times%, }"
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 && $broken -eq 0 ]]
