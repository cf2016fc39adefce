# shellcheck shell=bash disable=SC2034,SC2154 # prepare.sh sets and reads the variables that are not local
# The part of prepare.sh about Docker engines; prepare.sh reads it in.
#
# An engine that answers is used and left alone. Where none answers and this is root, dockerd is started, after docker.io was
# installed where it is missing. Several commands at a time share it: each holds a shared lock on dockerd's program file, which
# the kernel takes back however the command ends. The one that started the engine stops it, or, if others still use it or it is
# killed, a process that waits in the background until the lock is free.

answers() { timeout --kill-after=5 30 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# plan_engine looks and changes nothing. It sets engine_missing, the programs to install; engine_start=yes if dockerd is to be
# started; or no_engine, the reason why there will be none.
plan_engine() {
  local start=no missing=()
  if present docker && answers; then return 0; fi
  if [[ -n ${DOCKER_HOST-} ]]; then
    no_engine="no Docker engine answers at DOCKER_HOST=$DOCKER_HOST"
    read -ra missing <<<"$(absent docker)"
  elif [[ $(id -u) -ne 0 ]]; then
    no_engine="no Docker engine answers, and only root may start one"
    if [[ -S /var/run/docker.sock ]]; then read -ra missing <<<"$(absent docker)"; fi
  else
    no_engine="no Docker engine answers"
    read -ra missing <<<"$(absent docker dockerd)"
    start=yes
  fi
  if [[ ${#missing[@]} -eq 0 && $start == no ]]; then return 0; fi
  if [[ ${SIGNKIT_PREPARE-} == no ]]; then
    no_engine="no Docker engine answers, and SIGNKIT_PREPARE=no forbids to provide one"
  elif [[ ${#missing[@]} -gt 0 ]] && ! may_install; then
    no_engine+=", and it cannot be installed here"
  else
    engine_missing=("${missing[@]}") engine_start=$start no_engine=
    return 0
  fi
  say "for containers run first:  $(engine_by_hand "${missing[@]}")"
}

engine_by_hand() { # engine_by_hand MISSING-TOOL…
  if [[ $# -gt 0 ]]; then by_hand "$@"; else echo "sudo dockerd >/dev/null 2>&1 &"; fi
}

# acquire_engine does what was planned, and sees that the engine stays for as long as this script runs. If there is none, it sets
# no_engine.
acquire_engine() {
  local dockerd
  if [[ ${#engine_missing[@]} -gt 0 ]] && ! install_engine; then
    no_engine="no Docker engine answers, and docker.io could not be installed"
    return 1
  fi
  if [[ $(id -u) -ne 0 || -n ${DOCKER_HOST-} ]] || ! dockerd=$(command -v dockerd); then
    if answers; then return 0; fi
    no_engine="no Docker engine answers${DOCKER_HOST:+ at DOCKER_HOST=$DOCKER_HOST}"
    return 1
  fi
  # The second lock, on the client's file: one starts the engine, the others wait for that.
  exec 8<"$dockerd" 9<"$(command -v docker)"
  trap release_engine EXIT
  no_engine="another command is starting or stopping a Docker engine, and does not come to an end"
  flock --wait 300 --shared 8 && flock --wait 600 9 || return 1
  answers || start_engine || return 1
  exec 9<&-
}

install_engine() {
  local services=''
  if ! command -v dockerd >/dev/null; then
    services="docker.socket docker.service"
    command -v containerd >/dev/null || services+=" containerd.service"
  fi
  provide "${engine_missing[@]}" || return 1
  # The package has them started, now and with the machine.
  # shellcheck disable=SC2086
  if [[ $services ]]; then timeout 120 systemctl disable --now $services || timeout 120 service docker stop; fi >/dev/null 2>&1 || true
}

engine_pid='' # where this command has started it

start_engine() {
  local log deadline=$((SECONDS + 300))
  if [[ ${SIGNKIT_PREPARE-} == no ]]; then
    no_engine="the Docker engine has just ended, and SIGNKIT_PREPARE=no forbids to start it"
    return 1
  fi
  mkdir -p "$here/../build"
  log=$(cd "$here/../build" && pwd)/dockerd.log
  # In a session of its own: an interrupt at the terminal must not take it away from COMMAND's cleaning up.
  setsid dockerd >"$log" 2>&1 8<&- 9<&- </dev/null &
  engine_pid=$!
  disown "$engine_pid"
  # The keeper waits for the lock for as long as anybody uses the engine.
  set -m
  (
    trap '' INT TERM HUP
    exec 8<"$dockerd"
    flock --exclusive 8
    stop_engine
  ) </dev/null >>"$log" 2>&1 9<&- &
  set +m
  disown $!
  until answers; do
    if ! engine_runs || [[ $SECONDS -ge $deadline ]]; then
      stop_engine
      no_engine="dockerd does not start: $(grep -v 'level=info' "$log" | tail -n 1 | cut -c1-300) (see $log)"
      return 1
    fi
    sleep 0.25
  done
}

# engine_runs tells it from another process that has got its number since, and from what is left until somebody asks how it ended.
engine_runs() { [[ $(cat "/proc/$engine_pid/stat" 2>/dev/null) =~ ^"$engine_pid "\((dockerd|setsid|bash)\)\ [^ZX] ]]; }

stop_engine() {
  local tries
  if ! engine_runs; then return 0; fi
  kill -TERM "$engine_pid" # it ends its containers and its containerd
  for ((tries = 0; tries < 480; tries++)); do
    engine_runs || break
    sleep 0.25
  done
  if engine_runs; then
    say "dockerd (process $engine_pid) did not end within two minutes, and is killed"
    kill -KILL "$engine_pid" 2>/dev/null || true # its containerd ends with it
  fi
  # Shims of containers that have just ended outlive it for a moment.
  for ((tries = 0; tries < 40; tries++)); do
    pgrep -f -- 'containerd-shim.* -namespace moby ' >/dev/null 2>&1 || break
    sleep 0.25
  done
}

# shellcheck disable=SC2329 # a trap calls it
release_engine() {
  if [[ -z $engine_pid ]]; then return 0; fi
  # Without the lock for itself, others use it, or the keeper is faster: its end is waited for.
  if flock --nonblock --exclusive 8; then stop_engine; else flock --wait 150 --shared 8 || true; fi
}
