#!/usr/bin/env bash
# usage: scripts/prepare.sh --for build|unit|lint|check|integration|test|demo|images|fuzz|bench|bootstrap [-- COMMAND ARGS…]
# Sees that this machine has what the named job needs, then runs COMMAND.
#
# Where something is missing, a few lines say first what is installed or started, where and why. Packages come from the
# distribution, where that is allowed (root, or CI=true with sudo); engine.sh sees to a Docker engine for jobs with containers.
# With SIGNKIT_PREPARE=no, and where it is not allowed, the line to run by hand is printed instead, and the exit status is 1; a
# job that can do without containers goes on without them, and COMMAND finds the reason in SIGNKIT_NO_ENGINE.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
say() { echo "prepare.sh: $*" >&2; }

[[ ${1-} == --for && $# -ge 2 ]] || usage
job=$2
shift 2
if [[ ${1-} == -- ]]; then shift; elif [[ $# -gt 0 ]]; then usage; fi

case ${SIGNKIT_PREPARE:-yes} in
  yes | no) ;;
  *) say "SIGNKIT_PREPARE is \"$SIGNKIT_PREPARE\"; it can be yes (the default) or no"; exit 2 ;;
esac

engine=no unit="go gcc musl-gcc valgrind pkcs11-tool p11tool openssl openssl-pkcs11 javac modutil nginx python3-venv gpg gpg-agent gnupg-pkcs11-scd dash softhsm2-util rpmbuild debsigs debsig-verify dpkg-deb dscverify"
case $job in
  build) tools="go python3-venv" ;;
  unit) tools=$unit ;;
  lint) tools="go gcc python3-venv" ;;
  integration) tools="go python3-venv openssl mvn" engine=yes ;;
  demo | images) tools="go python3-venv openssl" engine=yes ;;
  check) tools=$unit engine=yes ;;
  test) tools="$unit mvn" engine=yes ;;
  fuzz) tools="go libfuzzer" ;;
  bench) tools="go gcc pkcs11-tool softhsm2-util openssl openssl-pkcs11 python3-venv gpg gpg-agent gnupg-pkcs11-scd" ;;
  bootstrap) tools="mmdebstrap" ;;
  *) usage ;;
esac
if [[ -n ${MODULE_CC-} ]]; then tools=${tools/python3-venv/gcc}; fi

here=$(cd "$(dirname "$0")" && pwd)
cache=${SIGNKIT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/signkit}

# --- programs -------------------------------------------------------------------------------------------------------

present() { # present TOOL: reports whether this machine has it
  case $1 in
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    gcc) command -v gcc >/dev/null && [[ -e /usr/include/stdlib.h ]] ;;
    openssl-pkcs11) openssl engine pkcs11 >/dev/null 2>&1 || openssl list -provider pkcs11 -providers >/dev/null 2>&1 ;;
    libfuzzer) compgen -G "$(clang -print-runtime-dir 2>/dev/null)/libclang_rt.fuzzer*" >/dev/null ;;
    nginx) command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] || "$cache/bin/nginx" -v >/dev/null 2>&1 ;;
    dockerd) command -v dockerd >/dev/null && command -v iptables >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

package() { # package TOOL: the Debian packages that bring it
  case $1 in
    docker) # a package of its own from Debian 13 on, before a part of docker.io
      if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; else echo docker.io; fi
      ;;
    go) echo golang-go ;;
    gcc) echo "gcc libc6-dev" ;;
    dockerd) echo "docker.io iptables" ;;
    openssl-pkcs11) echo libengine-pkcs11-openssl ;;
    pkcs11-tool) echo opensc ;;
    musl-gcc) echo musl-tools ;;
    libfuzzer) echo "clang libclang-rt-dev" ;;
    softhsm2-util) echo softhsm2 ;;
    p11tool) echo gnutls-bin ;;
    javac) echo default-jdk-headless ;;
    mvn) echo maven ;;
    modutil) echo libnss3-tools ;;
    rpmbuild) echo rpm ;;
    dpkg-deb) echo dpkg ;;
    dscverify) echo devscripts ;;
    *) echo "$1" ;;
  esac
}

# packages TOOL…: those of all of them, once each, on one line
packages() {
  local tool
  for tool; do package "$tool"; done | tr ' ' '\n' | sort -u | paste -sd ' '
}

absent() { # absent TOOL…: prints those that are missing, with blanks between
  local tool list=()
  for tool; do
    present "$tool" || list+=("$tool")
  done
  echo "${list[*]}"
}


as_root=()
may_install() {
  if [[ ${SIGNKIT_PREPARE-} == no ]] || ! command -v apt-get >/dev/null; then return 1; fi
  if [[ $(id -u) -eq 0 ]]; then return 0; fi
  [[ ${CI-} == true ]] && sudo -n true 2>/dev/null || return 1
  as_root=(sudo -n)
}

# by_hand TOOL…: what somebody can type for them
by_hand() { echo "sudo apt-get install -y $(packages "$@")"; }

# installable TOOL…: all but nginx, which is only downloaded
installable() {
  local tool
  for tool; do [[ $tool == nginx ]] || echo "$tool"; done
}

manuals=/usr/share/man/man1
wants_manuals() { [[ " $* " =~ \ (javac|mvn)\  && ! -d $manuals ]]; }

# announce TOOL…: says what follows: that these are provided, and what plan_engine has found
announce() {
  local all=("$@" "${engine_missing[@]}") wants="$*" installed
  if [[ $engine_start == yes ]]; then wants+="${wants:+ and }a Docker engine"; fi
  say "$job needs $wants, not found here; this is done first (SIGNKIT_PREPARE=no forbids it):"
  mapfile -t installed < <(installable "${all[@]}")
  if [[ ${#installed[@]} -gt 0 ]]; then say "- installed for the whole system, with apt-get: $(packages "${installed[@]}")"; fi
  if [[ ${#installed[@]} -lt ${#all[@]} ]]; then say "- downloaded into $cache/bin, not installed: nginx"; fi
  if wants_manuals "${all[@]}"; then say "- made, since Java's packages do not install without: $manuals"; fi
  if [[ $engine_start == yes ]]; then say "- started: dockerd, until the last command that uses it ends; its images stay in /var/lib/docker"; fi
}

# apt ARGUMENT…: apt-get without questions. It waits for others that hold its locks, and ends in any case.
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
    timeout --foreground --kill-after=60 3600 apt-get -qq -o DPkg::Lock::Timeout=1200 "$@" </dev/null
}

updated=
update() { # fetches the lists of packages, once; apt-get itself does not wait for their lock
  local deadline=$((SECONDS + 1200)) output
  if [[ $updated ]]; then return 0; fi
  until output=$(apt update 2>&1); do
    if [[ $output != *"Could not get lock"* || $SECONDS -ge $deadline ]]; then
      say "apt-get update failed: ${output##*$'\n'}"
      return 1
    fi
    sleep 2
  done
  updated=yes
}

# provide TOOL…: installs them
provide() {
  local installed
  update || return 1
  mapfile -t installed < <(installable "$@")
  if [[ ${#installed[@]} -gt 0 ]]; then
    if wants_manuals "$@"; then "${as_root[@]}" mkdir -p "$manuals"; fi
    # One name can stand for several packages, and which, for what the release has.
    # shellcheck disable=SC2046
    apt install -y --no-install-recommends $(packages "${installed[@]}") >/dev/null || return 1
    hash -r
  fi
  if [[ ${#installed[@]} -lt $# ]]; then fetch_nginx || return 1; fi
}

# fetch_nginx takes the program out of its package: a test runs it, but the installed package would have this machine serve.
fetch_nginx() {
  local work name status=1
  mkdir -p "$cache/bin"
  work=$(mktemp -d "$cache/nginx.XXXXXX")
  for name in nginx nginx-light; do # which of them has it depends on the release
    (cd "$work" && timeout --foreground --kill-after=60 1200 apt-get -qq download "$name" </dev/null >/dev/null 2>"$work/log") || continue
    dpkg-deb --extract "$work/$name"_*.deb "$work"
    if [[ -x $work/usr/sbin/nginx ]]; then
      mv "$work/usr/sbin/nginx" "$cache/bin/nginx"
      status=0
      break
    fi
  done
  if [[ $status -ne 0 ]]; then
    say "no nginx could be downloaded: $(tail -n 1 "$work/log")"
  elif ! present nginx; then
    say "the downloaded nginx does not run: $("$cache/bin/nginx" -v 2>&1 | tail -n 1)"
    status=1
  fi
  rm -rf "$work"
  return "$status"
}

need() { # need TOOL…: provides what is missing, or says how and ends
  local missing
  read -ra missing <<<"$(absent "$@")"
  if [[ ${#missing[@]} -gt 0 ]] && ! may_install; then
    say "$job needs ${missing[*]}, not found here; on Debian and Ubuntu run:  $(by_hand "${missing[@]}")"
    exit 1
  fi
  if [[ ${#missing[@]} -gt 0 || ${#engine_missing[@]} -gt 0 || $engine_start == yes ]]; then announce "${missing[@]}"; fi
  if [[ ${#missing[@]} -gt 0 ]]; then
    provide "${missing[@]}" || { say "could not be installed: $(absent "${missing[@]}")"; exit 1; }
  fi
}

# --- what the job needs ---------------------------------------------------------------------------------------------

# shellcheck source=scripts/engine.sh
source "$here/engine.sh"
engine_missing=() engine_start=no no_engine=
if [[ $engine == yes ]]; then plan_engine; fi

# shellcheck disable=SC2086
need $tools
if [[ $engine == yes && -z $no_engine ]] && may_install && ! present mmdebstrap; then
  say "should no image registry answer, mmdebstrap is installed, too, to make base images (SIGNKIT_PREPARE=no forbids it)"
fi
if [[ -x $cache/bin/nginx ]]; then export PATH=$PATH:$cache/bin; fi
if [[ " $tools " == *" go "* ]]; then
  # go.mod names the release; any Go from 1.21 on fetches that by itself.
  version=$(go env GOVERSION 2>/dev/null || true)
  minor=${version#go1.}
  minor=${minor%%[!0-9]*}
  if [[ ${minor:-0} -lt 21 ]]; then
    say "Go 1.21 or later is needed (found ${version:-none}); get it from https://go.dev/dl/ or your distribution's backports"
    exit 1
  fi
fi

if [[ $engine == yes ]]; then
  if [[ -z $no_engine ]] && acquire_engine; then
    unset SIGNKIT_NO_ENGINE
  else
    export SIGNKIT_NO_ENGINE=$no_engine
    say "going on without containers: $no_engine"
    engine_missing=() engine_start=no
    if [[ $job == demo ]]; then need openssl-pkcs11 pkcs11-tool p11tool; fi
  fi
fi

# --- the command ----------------------------------------------------------------------------------------------------

if [[ $# -eq 0 ]]; then exit 0; fi
ending='' child=''
forward() { # forward SIGNAL: to all of COMMAND
  ending=$1
  if [[ $child ]]; then kill "-$1" -- "-$child" 2>/dev/null || true; fi
}
for signal in INT TERM HUP; do
  # shellcheck disable=SC2064
  trap "forward $signal" "$signal"
done
# In a process group of its own, so that this script outlives it.
set -m
"$@" <&0 8<&- &
child=$!
set +m
if [[ $ending ]]; then forward "$ending"; fi # it came too early for COMMAND
status=0
wait "$child" || status=$?
if [[ $ending ]]; then # that ended the wait
  for ((tries = 0; tries < 600; tries++)); do # COMMAND may need time to clean up
    kill -0 "$child" 2>/dev/null || break
    sleep 0.2
  done
  kill -KILL -- "-$child" 2>/dev/null || true
  status=0
  wait "$child" || status=$?
fi
exit "$status"
