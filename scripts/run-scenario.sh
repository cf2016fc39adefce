#!/usr/bin/env bash
# usage: scripts/run-scenario.sh --scenario NAME --project-slug P --signing-policy-slug S [OPTION…] [FILE…] [-- SIGN.SH-OPTION…]
#        scripts/run-scenario.sh --scenario NAME --verify [--image IMAGE] [VERIFY.SH-ARGUMENT…]
#
# Signs FILEs with the sample of that name (a folder of samples/) in a container of IMAGE, or on this machine with --image none.
# The current folder is the container's working folder, so FILEs must lie in it. What a sample wants after the key, such as
# "tag v1.0" for git, stands in place of FILE. With --verify the sample's verify.sh runs instead, without settings or network.
#
#   --scenario NAME           openssl, pkcs11-tool, gpg, rpm …; or as the vendor calls them: OpenSSL, Pkcs11Tool, GpgSignFile …
#   --image IMAGE             default signkit:debian-13, or signkit:debian-13-java where a JDK is needed; none: this machine's tools
#   --project-slug, --signing-policy-slug     which key; or SIGNPATH_PROJECT_SLUG and SIGNPATH_SIGNING_POLICY_SLUG
#   --organization-id ID, --api-url URL       or SIGNPATH_ORGANIZATION_ID, SIGNPATH_API_URL
#   --api-token-file FILE     or SIGNPATH_API_TOKEN, SIGNPATH_API_TOKEN_FILE. --api-token TOKEN works, too, but any user of this
#                             machine can read it in the list of processes
#   --network NETWORK         the container's network
#   --open-ssl-dgst           the openssl sample's form dgst, which is its default
#
# Options are taken in any case, with one dash or two, and with or without dashes inside: -ProjectSlug is --project-slug.
# All SIGNPATH_* and SIGNKIT_* variables reach the sample; files that they name are mounted.
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
usage() { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
die() { echo "run-scenario.sh: $*" >&2; exit 2; }
# Names are compared without case, dashes and underscores.
plain() { tr -d '_-' <<<"${1,,}"; }

scenario='' image='' verify='' network='' words=() options=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --) shift; options+=("$@"); break ;;
    -*) ;;
    *) words+=("$1"); shift; continue ;;
  esac
  name=$(plain "$1")
  case $name in
    verify) verify=yes; shift; words+=("$@"); break ;;
    openssldgst) options+=(--form dgst); shift; continue ;;
    help | h) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
  esac
  [[ $# -ge 2 ]] || die "$1 needs a value, or is no option"
  case $name in
    scenario) scenario=$2 ;;
    image) image=$2 ;;
    network) network=$2 ;;
    projectslug) export SIGNPATH_PROJECT_SLUG=$2 ;;
    signingpolicyslug) export SIGNPATH_SIGNING_POLICY_SLUG=$2 ;;
    organizationid) export SIGNPATH_ORGANIZATION_ID=$2 ;;
    apiurl) export SIGNPATH_API_URL=$2 ;;
    apitokenfile) export SIGNPATH_API_TOKEN_FILE=$2 ;;
    apitoken)
      echo "run-scenario.sh: warning: $1 shows the token in the list of processes; better set SIGNPATH_API_TOKEN_FILE" >&2
      export SIGNPATH_API_TOKEN=$2
      ;;
    gpgkeyid | gpgkeyemail) echo "run-scenario.sh: $1 is not needed and ignored: project and policy name the key" >&2 ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift 2
done

# --- which sample ---------------------------------------------------------------------------------------------------

[[ $scenario ]] || usage
case $(plain "$scenario") in
  gpgsignfile) sample=gpg ;;
  signrpm) sample=rpm ;;
  signdeb) sample=deb ;;
  signmaven) sample=maven ;;
  generategpgkey) die "there is no scenario GenerateGpgKey: signkit gpg init makes the key's OpenPGP form, once per run" ;;
  *)
    sample=''
    for script in "$repository"/samples/*/sign.sh; do
      folder=$(basename "$(dirname "$script")")
      if [[ $(plain "$folder") == $(plain "$scenario") ]]; then sample=$folder; fi
    done
    [[ $sample ]] || die "unknown scenario $scenario; samples/ has $(cd "$repository/samples" && echo */sign.sh | sed 's#/sign.sh##g')"
    ;;
esac
if [[ -z $image ]]; then
  image=signkit:debian-13
  if [[ $sample == jarsigner || $sample == maven ]]; then image=signkit:debian-13-java; fi
fi

# --- what it is to do -----------------------------------------------------------------------------------------------

# Without a file there is one to try with, for samples that sign any file.
sample_input() {
  case $sample in
    openssl | pkcs11-tool | gpg) ;;
    *) die "name what to sign after the options" ;;
  esac
  words=(signkit-sample.txt)
  echo "a file to try signatures with" >"${words[0]}"
  echo "run-scenario.sh: no FILE given; signing ${words[0]}" >&2
}

if [[ $verify ]]; then
  arguments=(verify.sh "${words[@]}")
else
  key=${SIGNPATH_PROJECT_SLUG-}/${SIGNPATH_SIGNING_POLICY_SLUG-}
  [[ $key == ?*/?* ]] || die "--project-slug and --signing-policy-slug are needed: they name the key"
  [[ ${#words[@]} -gt 0 ]] || sample_input
  arguments=(sign.sh "${options[@]}" "$key" "${words[@]}")
fi

if [[ $image == none ]]; then
  if [[ -z ${PKCS11_PROVIDER_MODULE-} && ! -e /usr/lib/signkit/libsignkit-pkcs11.so ]]; then
    export PKCS11_PROVIDER_MODULE=$repository/build/libsignkit-pkcs11.so PATH=$repository/build:$PATH
  fi
  "$repository/samples/$sample/${arguments[0]}" "${arguments[@]:1}"
  exit
fi

container=(docker run --rm --init --user "$(id -u):$(id -g)" --volume "$PWD:/work" --workdir /work)
if [[ $verify ]]; then
  # The image may be one without signkit.
  "${container[@]}" --network none --volume "$repository/samples/$sample:/sample:ro" "$image" "/sample/${arguments[0]}" "${arguments[@]:1}"
  exit
fi
if [[ $network ]]; then container+=(--network "$network"); fi
for variable in $(compgen -e | grep -E '^SIGN(PATH|KIT)_|^(https?|no)_proxy$'); do
  case $variable in
    SIGNKIT_TOKEND) ;; # a path of this machine
    SIGNPATH_LOG_FILE_DIRECTORY)
      container+=(--volume "$(realpath "${!variable}"):/run/signkit/log" --env "$variable=/run/signkit/log")
      ;;
    *_FILE)
      [[ -f ${!variable} ]] || die "$variable names no file" # not its value, which may be the token itself
      container+=(--volume "$(realpath "${!variable}"):/run/signkit/$variable:ro" --env "$variable=/run/signkit/$variable")
      ;;
    *) container+=(--env "$variable") ;; # its value does not show in the list of processes
  esac
done
"${container[@]}" "$image" "/usr/share/signkit/samples/$sample/${arguments[0]}" "${arguments[@]:1}"
