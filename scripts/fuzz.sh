#!/usr/bin/env bash
# usage: [FUZZTIME=10s] scripts/fuzz.sh
# Runs every Go fuzz test of the project, one after another, for FUZZTIME each.
set -euo pipefail
cd "$(dirname "$0")/.."

git grep -hoE --untracked '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' >/dev/null || { echo "no fuzz tests"; exit; }
git grep -oE --untracked '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | while IFS=: read -r file declaration; do
  echo "--- ${file%/*} ${declaration#func }"
  go test -run '^$' -fuzz "^${declaration#func }\$" -fuzztime "${FUZZTIME:-10s}" "./${file%/*}"
done
