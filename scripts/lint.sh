#!/usr/bin/env bash
# usage: scripts/lint.sh
# Runs every static check, one line each, and ends with status 1 if any of them found something.
# Counts go to build/reports/lint.count. Tools are pinned: scripts/tools.mod (Go), scripts/lint.txt (wheels).
set -euo pipefail
cd "$(dirname "$0")/.."

tool() { go tool -modfile=scripts/tools.mod "$@"; }
passed=0 failed=0

check() { # check NAME COMMAND…: output is shown only when the command fails
  local name=$1 start=$SECONDS output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
    printf 'pass  %-12s %4d s\n' "$name" $((SECONDS - start))
  else
    failed=$((failed + 1))
    printf 'FAIL  %-12s %4d s\n%s\n' "$name" $((SECONDS - start)) "$output"
  fi
}

# files lists what is committed or could be, without what was deleted.
files() { git ls-files --cached --others --exclude-standard --deduplicate -- "$@" | while read -r f; do if [[ -f $f ]]; then echo "$f"; fi; done; }

mapfile -t go_files < <(files '*.go')
mapfile -t c_files < <(files 'pkcs11/module/*.c')
mapfile -t dockerfiles < <(files '*/Dockerfile')
mapfile -t shell_files < <(files '*.sh' '.ci/run')
mapfile -t workflows < <(files '.github/workflows/*.yml')

formatted() {
  local list
  list=$(gofmt -l "${go_files[@]}")
  [[ -z $list ]] || { echo "gofmt would change: $list"; return 1; }
}
c_warnings() { # a local compiler, since its warnings differ from those of the one that builds releases
  local file
  for file in "${c_files[@]}"; do
    gcc -std=gnu11 -Wall -Wextra -Werror -O2 -fsyntax-only "$file" || return 1
  done
}

python_bin=$(scripts/venv.sh lint)
check gofmt formatted
check "go vet" go vet ./...
check staticcheck tool staticcheck ./...
check "C warnings" c_warnings
check shellcheck "$python_bin/shellcheck" -x "${shell_files[@]}"
check hadolint "$python_bin/hadolint" --config .hadolint.yaml "${dockerfiles[@]}"
check actionlint tool actionlint -shellcheck "$python_bin/shellcheck" "${workflows[@]}"

mkdir -p build/reports
echo "$passed $failed 0" >build/reports/lint.count
[[ $failed -eq 0 ]]
