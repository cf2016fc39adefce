#!/usr/bin/env bash
# usage: scripts/venv.sh NAME
# Installs the wheels pinned in scripts/NAME.txt into a virtual environment of their own and prints its bin folder.
# The environment is made once per content of that file, under $SIGNKIT_CACHE_DIR (default ~/.cache/signkit).
set -euo pipefail

[[ $# -eq 1 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
name=$1
pins=$(cd "$(dirname "$0")" && pwd)/$name.txt
[[ -f $pins ]] || { echo "venv.sh: no such list of pinned wheels: $pins" >&2; exit 2; }

cache=${SIGNKIT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/signkit}
folder=$cache/venv/$name-$(sha256sum "$pins" | cut -c1-12)
mkdir -p "$cache/venv"

exec 9>"$folder.lock"
# Two calls at a time install once.
flock --wait 1800 9 || { echo "venv.sh: another call has held $folder.lock for half an hour" >&2; exit 1; }
if [[ ! -f $folder/complete ]]; then
  rm -rf "$folder"
  echo "venv.sh: installing $(grep -oE '^[a-z][a-z-]*==[0-9.]+' "$pins" | paste -sd ' ') into $folder" >&2
  python3 -m venv "$folder" >&2
  timeout --foreground --kill-after=60 1200 "$folder/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes -r "$pins" >&2
  touch "$folder/complete"
fi
echo "$folder/bin"
