#!/usr/bin/env bash
# usage: scripts/maven-repository.sh VERSION…
# Fetches what the project in tests/integration/testdata/maven needs to be built and signed offline, with each of the named
# versions of maven-gpg-plugin, from where this machine's Maven is set up to look, and prints the folder: a local repository.
# It is made once per project and list of versions, under $SIGNKIT_CACHE_DIR (default ~/.cache/signkit).
set -euo pipefail

[[ $# -ge 1 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
project=$(cd "$(dirname "$0")/../tests/integration/testdata/maven" && pwd)

cache=${SIGNKIT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/signkit}
folder=$cache/maven-$({ cat "$0" "$project/pom.xml"; echo "$@"; } | sha256sum | cut -c1-12)
mkdir -p "$cache"

exec 9>"$folder.lock"
# Two calls at a time fetch once.
flock --wait 2400 9 || { echo "maven-repository.sh: another call has held $folder.lock for 40 minutes" >&2; exit 1; }
if [[ ! -f $folder/complete ]]; then
  rm -rf "$folder"
  echo "maven-repository.sh: fetching maven-gpg-plugin $* and what it needs into $folder" >&2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cp -R "$project/." "$work"
  for version; do
    timeout --foreground --kill-after=60 1200 mvn --batch-mode --quiet --file "$work/pom.xml" "-Dmaven.repo.local=$folder" "-Dgpg.plugin=$version" -Dgpg.skip verify \
      </dev/null >&2
  done
  # With these, Maven would offline take a file only for a repository of the same name.
  find "$folder" \( -name _remote.repositories -o -name '*.lastUpdated' -o -name 'resolver-status.properties' \) -delete
  touch "$folder/complete"
fi
echo "$folder"
