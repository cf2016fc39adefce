#!/usr/bin/env bash
# usage: scripts/lint.sh
# Runs every static check, one line each, and ends with status 1 if any of them found something.
# Counts go to build/reports/lint.count. Tools are pinned: scripts/tools.mod (Go), scripts/lint.txt (wheels).
#
# govulncheck asks the database at GOVULNDB, or its usual one. Where that does not answer, the check is skipped, and says
# so; with SIGNKIT_NO_SKIP=1 a skip fails, unless tests/allowed-skips.txt names it.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/goflags.sh
. scripts/goflags.sh

tools=$PWD/build/tools
passed=0 failed=0 skipped=0

check() { # check NAME COMMAND…: output is shown only when the command fails
  local name=$1 start=$SECONDS output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
    printf 'pass  %-13s %4d s\n' "$name" $((SECONDS - start))
  else
    failed=$((failed + 1))
    printf 'FAIL  %-13s %4d s\n%s\n' "$name" $((SECONDS - start)) "$output"
  fi
}

skip() { # skip NAME REASON
  if [[ ${SIGNKIT_NO_SKIP-} == 1 ]] && ! grep -qEf <(grep -Ev '^(#|$)' tests/allowed-skips.txt) <<<"lint $1"; then
    failed=$((failed + 1))
    printf 'FAIL  %-13s skipped, which this run does not allow: %s\n' "$1" "$2"
  else
    skipped=$((skipped + 1))
    printf 'skip  %-13s %s\n' "$1" "$2"
  fi
}

# files lists what is committed or could be, without what was deleted.
files() { git ls-files --cached --others --exclude-standard --deduplicate -- "$@" | while read -r f; do if [[ -f $f ]]; then echo "$f"; fi; done; }

mapfile -t go_files < <(files '*.go')
mapfile -t c_files < <(files 'pkcs11/module/*.c')
mapfile -t dockerfiles < <(files '*/Dockerfile')
mapfile -t shell_files < <(files '*.sh' '.ci/run')
mapfile -t workflows < <(files '.github/workflows/*.yml' 'samples/ci/github/*.yml')
mapfile -t pages < <(files '*.md')

formatted() {
  local list
  list=$(gofmt -l "${go_files[@]}")
  [[ -z $list ]] || { echo "gofmt would change: $list"; return 1; }
}
flags_alike() { # -x of package flag beside --x of the others; go test demands it for its own
  local list
  list=$(printf '%s\n' "${go_files[@]}" | grep -v '_test\.go$' | xargs grep -lx $'\t"flag"')
  [[ -z $list ]] || { echo "use github.com/spf13/pflag instead of flag: $list"; return 1; }
}
c_warnings() { # a local compiler, since its warnings differ from those of the one that builds releases
  local file standard
  standard=$(go list -m -f '{{.Dir}}' github.com/miekg/pkcs11) || return 1 # has the standard's headers
  for file in "${c_files[@]}"; do
    gcc -std=gnu11 -Wall -Wextra -Werror -O2 -fsyntax-only -isystem "$standard" "$file" || return 1
  done
}

ci_templates() { # each against the schema of the system that reads it
  local component=samples/ci/gitlab-component/templates/sign.yml
  "$schema_bin/check-jsonschema" --builtin-schema vendor.gitlab-ci samples/ci/gitlab/.gitlab-ci.yml samples/ci/gitlab-agent/.gitlab-ci.yml || return 1
  # A component is two documents: its inputs, and a pipeline with places for them.
  awk 'pipeline { print } /^---$/ { pipeline = 1 }' "$component" | sed 's/\$\[\[ inputs\.jobs \]\]/4/g; s/\$\[\[ inputs\.[a-z]* \]\]/value/g' \
    >build/component.yml
  grep -q '^spec:' "$component" || { echo "$component has no spec"; return 1; }
  "$schema_bin/check-jsonschema" --builtin-schema vendor.gitlab-ci build/component.yml || return 1
  "$schema_bin/check-jsonschema" --builtin-schema vendor.github-actions samples/ci/github-action/action.yml || return 1
  "$schema_bin/check-jsonschema" --builtin-schema vendor.compose-spec samples/ci/compose/compose.yaml samples/ci/compose/agent.yaml samples/ci/gitlab-agent/agent.yaml || return 1
  "$schema_bin/kubernetes-validate" --strict samples/ci/kubernetes/sign.yaml
}

# analyse COMMAND… looks at packages as the unit tests compile them, with -race, so that they are compiled once for both.
analyse() { GOFLAGS="$GOFLAGS -race" "$@"; }

build_tools() {
  CGO_ENABLED=0 go build -modfile=scripts/tools.mod -o "$tools/" \
    honnef.co/go/tools/cmd/staticcheck github.com/rhysd/actionlint/cmd/actionlint golang.org/x/vuln/cmd/govulncheck
  CGO_ENABLED=0 go build -o "$tools/" ./scripts/samplestable ./scripts/linkcheck
}

database=()
if [[ -n ${GOVULNDB-} ]]; then database=(-db "$GOVULNDB"); fi
# The program tells when the database was changed last, if that can be asked.
database_answers() { timeout 60 "$tools/govulncheck" "${database[@]}" -version 2>/dev/null | grep '^DB updated:' >/dev/null; }

python_bin=$(scripts/venv.sh lint)
schema_bin=$(scripts/venv.sh schemas)
mkdir -p build/reports "$tools"
build_tools
check gofmt formatted
check flags flags_alike
check "go vet" analyse go vet ./...
check staticcheck analyse "$tools/staticcheck" ./...
if database_answers; then
  check govulncheck "$tools/govulncheck" "${database[@]}" ./...
else
  skip govulncheck "its database of vulnerabilities does not answer (GOVULNDB names another)"
fi
check "C warnings" c_warnings
check shellcheck "$python_bin/shellcheck" -x "${shell_files[@]}"
check hadolint "$python_bin/hadolint" --config .hadolint.yaml "${dockerfiles[@]}"
check actionlint "$tools/actionlint" -shellcheck "$python_bin/shellcheck" "${workflows[@]}"
check "CI templates" ci_templates
check samples "$tools/samplestable" --check
check links "$tools/linkcheck" "${pages[@]}"

echo "$passed $failed $skipped" >build/reports/lint.count
[[ $failed -eq 0 ]]
