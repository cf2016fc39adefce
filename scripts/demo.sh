#!/usr/bin/env bash
# usage: scripts/demo.sh
# Signs a file with openssl through the mock signing service and verifies it outside, with plain openssl.
#
# Leaves build/demo/FILE, FILE.sig, certificate.pem (the signer's), certificates.pem (it and the intermediate ones) and
# signing-root.pem; leaves nothing running. Service and openssl run in containers, or, where SIGNKIT_NO_ENGINE tells why
# there are none, as processes of this machine with its own openssl.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/goflags.sh
. scripts/goflags.sh

key=demo/rsa-3072
out=$PWD/build/demo
programs=$PWD/build/demo-programs # apart from build/ itself: this module may need a newer libc than the one that is shipped
image=signkit-verifier:debian-13-core
work=$(mktemp -d) # tokens and keys of the mock service: gone at the end
chmod 0700 "$work"
mkdir "$work/state"
network=signkit-demo-$$ service=signkit-demo-service-$$
service_pid=

cleanup() {
  local status=$?
  if [[ -n $service_pid ]]; then kill "$service_pid" 2>/dev/null && wait "$service_pid" 2>/dev/null || true; fi
  if [[ -z ${SIGNKIT_NO_ENGINE-} ]]; then
    if [[ $status -ne 0 ]]; then docker logs "$service" 2>&1 | tail -n 20 >&2 || true; fi
    docker rm --force "$service" >/dev/null 2>&1 || true
    docker network rm "$network" >/dev/null 2>&1 || true
  fi
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

die() { echo "demo.sh: $*" >&2; exit 1; }
line() { printf '  %-16s %s\n' "$1" "$2"; }

times=''
phase() { # phase NAME COMMAND…: runs it and notes the time
  local name=$1 start=${EPOCHREALTIME/./}
  shift
  "$@"
  local took=$(((${EPOCHREALTIME/./} - start) / 100000))
  times+="$name $((took / 10)).$((took % 10)) s, "
}

# --- where things run -----------------------------------------------------------------------------------------------

serve_in_container() {
  docker network create "$network" >/dev/null
  docker run --detach --init --name "$service" --network "$network" --network-alias signing-service \
    --user "$(id -u):$(id -g)" --volume "$work/state:/state" --volume "$programs:/usr/lib/signkit:ro" \
    "$image" /usr/lib/signkit/signkit-mockapi serve --listen :8443 --host signing-service --state /state >/dev/null
}

serve_here() {
  "$programs/signkit-mockapi" serve --listen 127.0.0.1:0 --state "$work/state" >"$work/service.log" 2>&1 &
  service_pid=$!
}

# The service writes its settings when it is ready to serve.
await_service() {
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    if [[ -s $work/state/env ]]; then return 0; fi
    sleep 0.1
  done
  if [[ -s $work/service.log ]]; then cat "$work/service.log" >&2; fi
  die "the mock service is not ready after 30 s"
}

# The settings reach the signing side in a file, so that the token shows in no list of processes.
write_settings() {
  (
    umask 077
    # shellcheck disable=SC2016
    env -i bash -c 'set -a; source "$1"; env' - "$work/state/env" | grep -E '^SIGN(PATH|KIT)_' >"$work/settings"
    echo "SIGNPATH_LOG_CONSOLE_LEVEL=error" >>"$work/settings"
  )
}

# in_container COMMAND… runs it as the calling user, in build/demo. What images of signkit have inside is mounted where they have it.
in_container() {
  docker run --rm --init --network "$network" --user "$(id -u):$(id -g)" --env-file "$work/settings" \
    --env SIGNKIT_CA_FILE=/run/signkit/ca.pem --volume "$work/state/ca.pem:/run/signkit/ca.pem:ro" \
    --env "PKCS11_PROVIDER_MODULE=$module" --env LANG=C.UTF-8 --volume "$programs:/usr/lib/signkit:ro" \
    --volume "$PWD/samples:$samples:ro" --volume "$out:/work" --workdir /work "$image" "$@"
}

here() (
  set -a
  # shellcheck disable=SC1091
  source "$work/settings"
  set +a
  cd "$out"
  "$@"
)

if [[ -z ${SIGNKIT_NO_ENGINE-} ]]; then
  tool=in_container
  module=/usr/lib/signkit/libsignkit-pkcs11.so samples=/usr/share/signkit/samples
  place="a container with the tools of debian-13, as user $(id -u)"
else
  tool=here
  module=$programs/libsignkit-pkcs11.so samples=$PWD/samples
  place="this machine ($SIGNKIT_NO_ENGINE)"
  export PKCS11_PROVIDER_MODULE=$module
fi

# --- building -------------------------------------------------------------------------------------------------------

# c_compiler prints the compiler for the module, where that need not be the pinned one: this machine's, if its libc is not newer
# than the one that the module is going to meet here.
c_compiler() {
  local here there
  if [[ -n ${MODULE_CC-} ]]; then echo "$MODULE_CC"; return; fi
  command -v gcc >/dev/null && [[ -e /usr/include/stdlib.h ]] || return 0
  here=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d ' ' -f 2)
  there=$here
  if [[ $tool == in_container ]]; then
    there=$(sed -n '/"name": "debian-13"/,/}/s/.*"glibc": "\([0-9.]*\)".*/\1/p' images/matrix.json)
  fi
  if [[ $here ]] && printf '%s\n' "$here" "$there" | sort -V -C; then echo gcc; fi
}

build() { OUTPUT=$programs MODULE_CC=$(c_compiler) scripts/build.sh module signkit-tokend signkit-mockapi; }

# Where the time goes: the base image and Go's compiler are busy side by side.
build_and_fetch() {
  local images='' status=0
  if [[ $tool == in_container ]]; then
    scripts/base-image.sh debian-13 >/dev/null 2>&1 & # if it fails, it does once more below, and says why
    # This small program first: its parts are compiled but once, and those of the others are many of the same.
    CGO_ENABLED=0 go build -o "$work/" ./scripts/matrix
    scripts/images.sh --tools debian-13-core &
    images=$!
  fi
  build || status=$?
  if [[ $images ]]; then wait "$images" || status=$?; fi
  return "$status"
}

# --- the demonstration ----------------------------------------------------------------------------------------------

start_service() {
  if [[ $tool == in_container ]]; then serve_in_container; else serve_here; fi
  await_service
  write_settings
}

sign() { $tool "$samples/openssl/sign.sh" "$key" "$file"; }

fetch_certificates() {
  $tool "$samples/openssl/certificates.sh" "$key" >"$out/certificates.pem"
  openssl x509 -in "$out/certificates.pem" -out "$out/certificate.pem" # the first one
  cp "$work/state/signing-root.pem" "$out/signing-root.pem"
}

verify() { samples/openssl/verify.sh --root "$out/signing-root.pem" "$out/certificates.pem" "$1" "$out/$file.sig"; }

verify_both() {
  verify "$out/$file" >"$work/verified" || die "the signature does not verify"
  cp "$out/$file" "$work/tampered"
  printf x >>"$work/tampered"
  if verify "$work/tampered" >/dev/null 2>&1; then die "the signature of the file verifies a tampered copy"; fi
}

# requests prints what the service was asked so far: "2 (GET MySigningPolicies 200, POST SignHash 200)".
requests() {
  local list
  # Neither the small image nor every machine has curl.
  # shellcheck disable=SC2016
  list=$($tool bash -c 'address=${SIGNPATH_API_URL#https://}
      printf "GET /_mock/requests HTTP/1.0\r\n\r\n" |
      openssl s_client -quiet -verify_return_error -CAfile "$SIGNKIT_CA_FILE" -connect "${address%/Api}" 2>/dev/null' |
    tr -d ' \n' | grep -oE '"(method|path|status)":("[^"]*"|[0-9]+)' | cut -d: -f2- | tr -d '"' | paste -d ' ' - - - |
    grep -v /healthz | sed -E 's#/[^ ?]*/##; s#\?[^ ]*##')
  echo "$(wc -l <<<"$list") ($(paste -sd , <<<"$list" | sed 's/,/, /g'))"
}

rm -rf "$out"
mkdir -p "$out"
file=samples.tar.gz
tar -czf "$out/$file" samples

phase building build_and_fetch
phase service start_service
phase signature sign
made=$(requests)
phase certificates fetch_certificates
phase verification verify_both

echo
line file "build/demo/$file ($(stat -c %s "$out/$file") bytes)"
line key "$key, held by the mock signing service, reached over TLS"
line algorithm "RSA PKCS#1 v1.5 with SHA-256"
line "signed on" "$place: $($tool openssl version | cut -d' ' -f1,2)"
line requests "$made"
line "signing request" "$(sed -n 's/.*"signingRequestId":"\([^"]*\)".*/\1/p' "$work/state/audit.jsonl" | tail -n 1)"
line "verified by" "$(openssl version | cut -d' ' -f1,2) of this machine: chain to signing-root.pem and signature are good"
line "tampered copy" "refused"
line time "${times%, }"
