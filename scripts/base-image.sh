#!/usr/bin/env bash
# usage: scripts/base-image.sh NAME      (of images/matrix.json, such as debian-13)
# Prints a reference to a base image of that release, which the engine then has. It is the official image; where no image
# registry answers, and the release is one of Debian, a minimal system bootstrapped with mmdebstrap from the mirrors this
# machine's apt is set up with. Such a system is kept for 30 days, in the engine and under $SIGNKIT_CACHE_DIR (default
# ~/.cache/signkit).
# Where neither can be had, the reason is printed and the exit status is 1.
set -euo pipefail

[[ $# -eq 1 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
name=$1
case $name in
  debian-11) suite=bullseye ;;
  debian-12) suite=bookworm ;;
  debian-13) suite=trixie ;;
  *) suite='' ;;
esac
cd "$(dirname "$0")/.."
# Without the Go program that others read the file with: this comes first of all, where nothing is compiled yet.
official=$(awk -F '"' -v name="$name" '$2 == "name" { here = $4 == name } here && $2 == "base" { print $4; exit }' images/matrix.json)
[[ $official ]] || { echo "base-image.sh: images/matrix.json has no image \"$name\"" >&2; exit 1; }
stand_in=signkit-base:$name-slim
cache=${SIGNKIT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/signkit}/base
tarball=$cache/$name-slim-$(uname -m).tar

say() { echo "base-image.sh: $*" >&2; }
has() { docker image inspect "$1" >/dev/null 2>&1; }

# mirrors prints one sources.list line per suite, from the mirrors in use here; nothing where this is no Debian.
# shellcheck disable=SC2016 # $(REPO_URI) is apt's own notation
mirrors() {
  local main security
  main=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
  security=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian-Security' | head -n 1)
  [[ -n $main && -n $security ]] || return 0
  printf 'deb %s %s main\n' "$main" "$suite" "$main" "$suite-updates" "$security" "$suite-security"
}

# apt_options carries the proxy and the checks of dates over: a machine behind a proxy or a snapshot needs them for every release.
apt_options() {
  apt-config dump --format '%F "%v";%n' Acquire::http::Proxy Acquire::https::Proxy Acquire::Check-Valid-Until Acquire::Check-Date |
    grep -v '""' || true
  if [[ $suite == bullseye ]]; then echo 'Acquire::Check-Valid-Until "false";'; fi # its support has ended
}

bootstrap() {
  # Several releases can be wanted at a time.
  flock --wait 3600 "$cache/lock" scripts/prepare.sh --for bootstrap >&2 || return 1
  local options=(--quiet --variant=minbase --include=ca-certificates) dpkg_options line
  while read -r line; do options+=(--aptopt="$line"); done < <(apt_options)
  # As in the official slim images: no waiting for the disk after each file, no translated descriptions, and no manuals and
  # translations, but every licence. dpkg leaves out what comes later; given as --dpkgopt, mmdebstrap would filter the first
  # packages itself, which takes longer than to delete from them what they should not have brought.
  dpkg_options=$(printf '%s\n' force-unsafe-io path-exclude=/usr/share/{doc,groff,info,linda,lintian,locale,man}/'*' path-include=/usr/share/doc/'*'/copyright)
  export dpkg_options
  # shellcheck disable=SC2016 # mmdebstrap's shell fills in $1 and the variable; some of the folders need not exist
  options+=(--aptopt='Acquire::Languages "none"'
    --extract-hook='echo "$dpkg_options" >"$1/etc/dpkg/dpkg.cfg.d/slim"'
    --customize-hook='cd "$1/usr/share"; find doc groff info linda lintian locale man -type f ! -path "doc/*/copyright" -delete 2>/dev/null || true')
  # The host's additional roots, for mirrors behind an inspecting proxy.
  if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
    # shellcheck disable=SC2016 # mmdebstrap's shell fills in $1
    options+=(--customize-hook='copy-in /usr/local/share/ca-certificates /usr/local/share'
      --customize-hook='chroot "$1" update-ca-certificates')
  fi
  say "no image registry answers; bootstrapping $suite (about 15 s)"
  mirrors | timeout --foreground --kill-after=60 1800 mmdebstrap --format=tar "${options[@]}" "$suite" "$tarball.$$" - >&2 || { rm -f "$tarball.$$"; return 1; }
  mv "$tarball.$$" "$tarball"
}

# young reports whether the engine has made the image within the last 30 days.
young() {
  local created
  created=$(docker image inspect --format '{{.Created}}' "$1" 2>/dev/null) && [[ $(date -d "$created" +%s) -gt $(date -d '30 days ago' +%s) ]]
}

# Two calls at a time for one release make it once.
mkdir -p "$cache"
exec 9>"$cache/$name.lock"
flock --wait 3600 9 || { say "another call has held $cache/$name.lock for an hour"; exit 1; }
if has "$official"; then echo "$official"; exit; fi
if young "$stand_in"; then echo "$stand_in"; exit; fi
if answer=$(timeout 300 docker pull --quiet "$official" 2>&1); then
  echo "$official"
  exit
fi
if [[ -z $suite ]]; then
  say "$official cannot be pulled, and only Debian can be bootstrapped here (${answer##*: })"
  exit 1
fi
if [[ -z $(find "$tarball" -mtime -30 2>/dev/null) ]]; then
  if ! bootstrap; then
    if has "$stand_in"; then
      say "bootstrapping failed; going on with the $suite of $(docker image inspect --format '{{.Created}}' "$stand_in")"
      echo "$stand_in"
      exit
    fi
    hint=
    command -v mmdebstrap >/dev/null || hint=" (for the latter run:  sudo apt-get install -y mmdebstrap)"
    say "neither pulled nor bootstrapped: $official$hint"
    exit 1
  fi
fi
docker import --change 'CMD ["bash"]' "$tarball" "$stand_in" >/dev/null
echo "$stand_in"
