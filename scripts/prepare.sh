#!/usr/bin/env bash
# usage: scripts/prepare.sh --for build|unit|lint|integration|test|demo|images|fuzz|bench|bootstrap [-- COMMAND ARGS…]
# Sees that this machine has what the named job needs, then runs COMMAND.
#
# What is missing is installed from the distribution where that is allowed (root, or CI=true with sudo); elsewhere the one
# line to run is printed and the exit status is 1. Jobs with containers use the Docker engine that answers, and leave it alone.
# Where none answers and this is root, docker.io is installed and its engine runs for as long as COMMAND does.
# Where none can be had, COMMAND gets the reason in SIGNKIT_NO_ENGINE and does what it can without.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
say() { echo "prepare.sh: $*" >&2; }

[[ ${1-} == --for && $# -ge 2 ]] || usage
job=$2
shift 2
if [[ ${1-} == -- ]]; then shift; elif [[ $# -gt 0 ]]; then usage; fi

engine=no
case $job in
  build) tools="go python3-venv" ;;
  unit) tools="go gcc musl-gcc valgrind pkcs11-tool p11tool openssl openssl-pkcs11 javac modutil nginx python3-venv gpg gpg-agent dash softhsm2-util rpmbuild debsigs debsig-verify dpkg-deb" ;;
  lint) tools="go gcc python3-venv" ;;
  integration) tools="go python3-venv openssl mvn" engine=yes ;;
  demo | images) tools="go python3-venv openssl" engine=yes ;;
  test) tools="go gcc musl-gcc valgrind pkcs11-tool p11tool openssl openssl-pkcs11 javac modutil nginx python3-venv gpg gpg-agent dash softhsm2-util rpmbuild debsigs debsig-verify dpkg-deb mvn" engine=yes ;;
  fuzz) tools="go libfuzzer" ;;
  bench) tools="go gcc pkcs11-tool softhsm2-util openssl openssl-pkcs11 python3-venv gpg gpg-agent gnupg-pkcs11-scd" ;;
  bootstrap) tools="mmdebstrap" ;;
  *) usage ;;
esac
if [[ -n ${MODULE_CC-} ]]; then tools=${tools/python3-venv/gcc}; fi

# --- programs -------------------------------------------------------------------------------------------------------

present() { # present TOOL: reports whether this machine has it
  case $1 in
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    gcc) command -v gcc >/dev/null && [[ -e /usr/include/stdlib.h ]] ;;
    openssl-pkcs11) openssl engine pkcs11 >/dev/null 2>&1 || openssl list -provider pkcs11 -providers >/dev/null 2>&1 ;;
    libfuzzer) compgen -G "$(clang -print-runtime-dir 2>/dev/null)/libclang_rt.fuzzer*" >/dev/null ;;
    nginx) command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]] ;;
    docker) command -v docker >/dev/null ;;
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
    nginx) echo nginx-light ;;
    rpmbuild) echo rpm ;;
    dpkg-deb) echo dpkg ;;
    *) echo "$1" ;;
  esac
}

as_root=()
may_install() {
  command -v apt-get >/dev/null || return 1
  if [[ $(id -u) -eq 0 ]]; then return 0; fi
  [[ ${CI-} == true ]] && sudo -n true 2>/dev/null || return 1
  as_root=(sudo -n)
}

install() { # install PACKAGE…
  local policy=/usr/sbin/policy-rc.d quiet=no status=0
  say "installing $*"
  if [[ " $* " == *" nginx"* && ! -e $policy ]]; then # a test runs it; this machine shall not serve
    quiet=yes
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 0755 "$policy"
  fi
  if [[ " $* " == *jdk* || " $* " == *maven* ]]; then
    # Slim systems leave manual pages and their folder out, and Java's set-up wants the folder.
    "${as_root[@]}" mkdir -p /usr/share/man/man1
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null || status=$?
  if [[ $quiet == yes ]]; then
    "${as_root[@]}" rm -f "$policy"
    "${as_root[@]}" systemctl disable nginx >/dev/null 2>&1 || true
  fi
  return "$status"
}

provide() { # provide TOOL…: installs what is missing or says how
  local missing=() packages tool
  for tool; do
    present "$tool" || missing+=("$tool")
  done
  if [[ ${#missing[@]} -eq 0 ]]; then return 0; fi
  if may_install; then "${as_root[@]}" apt-get update -qq >/dev/null || return 1; fi
  # One name can stand for several packages, and which, for what the release has.
  mapfile -t packages < <(for tool in "${missing[@]}"; do package "$tool"; done | tr ' ' '\n' | sort -u)
  if ! may_install; then
    say "missing here; on Debian and Ubuntu run:  sudo apt-get install -y ${packages[*]}"
    return 1
  fi
  install "${packages[@]}"
}

# shellcheck disable=SC2086
provide $tools
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

# --- engine ---------------------------------------------------------------------------------------------------------

locks=/run/lock
pid_file=/run/signkit-engine.pid # exists while an engine runs that one of these scripts has started
child=

answers() { timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

start_engine() {
  local log
  log=$(cd "$(dirname "$0")/.." && pwd)/build/dockerd.log
  mkdir -p "$(dirname "$log")"
  # In a session of its own: an interrupt at the terminal must not take it away from COMMAND's cleaning up.
  setsid dockerd >"$log" 2>&1 8>&- 9>&- </dev/null &
  local pid=$! tries
  disown "$pid"
  echo "$pid" >"$pid_file"
  for ((tries = 0; tries < 120; tries++)); do
    if answers; then return 0; fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.25
  done
  stop_engine
  no_engine="dockerd does not start: $(grep -v 'level=info' "$log" | tail -n 1 | cut -c1-300) (see $log)"
  return 1
}

stop_engine() {
  local pid tries
  pid=$(cat "$pid_file" 2>/dev/null) || return 0
  rm -f "$pid_file"
  [[ $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]] || return 0
  kill -TERM "$pid" # it ends its containers and its containerd
  for ((tries = 0; tries < 160; tries++)); do
    # Shims of containers that have just ended outlive it for a moment.
    if ! kill -0 "$pid" 2>/dev/null && ! pgrep -f -- 'containerd-shim.* -namespace moby ' >/dev/null 2>&1; then return 0; fi
    sleep 0.25
  done
  say "dockerd (process $pid) did not end within 40 s; killing it and its containerd"
  kill -KILL "$pid" "$(cat /run/docker/containerd/containerd.pid 2>/dev/null || echo "$pid")" 2>/dev/null || true
}

# The last of several commands at a time stops the engine: each holds a shared lock for as long as it uses it.
# shellcheck disable=SC2329 # a trap calls it
release_engine() {
  flock -u 8
  if flock -n -x 8; then stop_engine; fi
}

need_engine() {
  if [[ -n ${DOCKER_HOST-} ]]; then
    provide docker && answers && return 0
    no_engine="no Docker engine answers at DOCKER_HOST=$DOCKER_HOST"
    return 1
  fi
  if [[ $(id -u) -ne 0 || ! -d $locks ]]; then
    provide docker && answers && return 0
    no_engine="no Docker engine answers, and only root may start one"
    return 1
  fi
  exec 8>"$locks/signkit-engine" 9>"$locks/signkit-engine-start"
  flock -s 8
  trap release_engine EXIT
  flock 9
  if present docker && answers; then flock -u 9; return 0; fi
  no_engine="no Docker engine answers and docker.io could not be installed"
  # A package's own start script may bring the engine up.
  if provide docker dockerd; then
    hash -r
    if answers || start_engine; then flock -u 9; return 0; fi
  fi
  flock -u 9
  return 1
}

if [[ $engine == yes ]]; then
  no_engine=
  if need_engine; then
    unset SIGNKIT_NO_ENGINE
  else
    export SIGNKIT_NO_ENGINE=$no_engine
    say "going on without containers: $no_engine"
    if [[ $job == demo ]]; then provide openssl-pkcs11 pkcs11-tool p11tool; fi
  fi
fi

# --- the command ----------------------------------------------------------------------------------------------------

if [[ $# -eq 0 ]]; then exit 0; fi
# In a process group of its own, so that a signal to this script reaches all of it, and this script outlives it.
set -m
"$@" <&0 8>&- 9>&- &
child=$!
set +m
for signal in INT TERM HUP; do
  # shellcheck disable=SC2064
  trap "kill -$signal -- -$child 2>/dev/null || true" "$signal"
done
status=0
wait "$child" || status=$?
while kill -0 "$child" 2>/dev/null; do # a trapped signal ends the first wait early
  status=0
  wait "$child" || status=$?
done
exit "$status"
