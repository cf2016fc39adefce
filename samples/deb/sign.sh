#!/usr/bin/env bash
# usage: sign.sh [--with debsigs|dpkg-sig] PROJECT/POLICY PACKAGE.deb…
#
# Puts a signature into Debian packages: as "origin" with debsigs (the default), which debsig-verify and dpkg check where a
# policy asks for it, or as "builder" with dpkg-sig, which Debian 11 was the last to have. apt does not look at either: it trusts
# the signature of the repository (samples/apt-repository). Each package is replaced only when it was signed.
#
# Credentials and the service's address come from the environment (SIGNPATH_API_URL, SIGNPATH_ORGANIZATION_ID,
# SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE). The public key for those who verify: signkit gpg export PROJECT/POLICY
# Needed: debsigs or dpkg-sig, binutils, gpg, gpg-agent, signkit.
set -euo pipefail

usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
tool=debsigs
if [[ ${1-} == --with ]]; then
  tool=${2-}
  shift 2
fi
[[ $# -ge 2 && ($tool == debsigs || $tool == dpkg-sig) ]] || usage
key=$1
shift
command -v "$tool" >/dev/null || { echo "sign.sh: $tool is not installed" >&2; exit 1; }
for package; do
  [[ -f $package ]] || { echo "sign.sh: $package: no such file" >&2; exit 1; }
done

# Nothing but what dpkg knows, in its order and once: a signature of anything else would say little about what is installed.
known='^debian-binary control\.tar(\.(gz|xz|zst))? data\.tar(\.(gz|bz2|lzma|xz|zst))?( _gpg[a-z]+)*$'
for package; do
  members=$(ar t "$package")
  if ! [[ ${members//$'\n'/ } =~ $known ]] || [[ $(sort <<<"$members" | uniq --repeated) ]]; then
    echo "sign.sh: $package: not the structure of a Debian package" >&2
    exit 1
  fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A GNUPGHOME of its own, with the public key, and an agent that asks signkit's bridge; gone when this script ends.
setup=$(signkit gpg init "$key")
eval "$setup"

for package; do
  copy=$work/$(basename "$package")
  cp "$package" "$copy"
  chmod u+w "$copy" # debsigs changes it
  case $tool in
    debsigs) sign=(debsigs --sign=origin "--default-key=$GPG_KEY_ID" "$copy") member=_gpgorigin ;;
    dpkg-sig) sign=(dpkg-sig --sign builder --sign-changes no -k "$GPG_KEY_ID" --gpg-options "--batch --no-tty" "$copy") member=_gpgbuilder ;;
  esac
  if ar t "$copy" | grep -qx "$member" &&
    ! ar p "$copy" "$member" | gpg --batch --list-packets 2>/dev/null | grep "keyid ${GPG_KEY_ID: -16}" >/dev/null; then
    echo "sign.sh: somebody else has signed $package: ar d takes the member $member out, if nobody needs it" >&2
    exit 1
  fi
  # Both tools can fail with exit status 0.
  if ! "${sign[@]}" </dev/null || ! ar t "$copy" | grep -qx "$member"; then
    echo "sign.sh: $tool did not sign $package" >&2
    signkit gpg status --errors >&2 || true # the tool does not say why; the bridge does
    exit 1
  fi
  # debsigs before 0.1.26 leaves out members that zstd has compressed, and says nothing.
  if [[ $tool == debsigs ]]; then
    mapfile -t parts < <(ar t "$copy" | head -n 3)
    ar p "$copy" _gpgorigin >"$work/origin"
    if ! ar p "$copy" "${parts[@]}" | gpg --batch --quiet --verify "$work/origin" - 2>"$work/said"; then
      cat "$work/said" >&2
      echo "sign.sh: the signature of debsigs does not cover all of $package; signkit sign makes one that does" >&2
      exit 1
    fi
    rm "$work/origin"
  fi
  # Written next to the package, so that the last step is one rename.
  cp "$copy" "$package.part"
  chmod --reference="$package" "$package.part"
  mv "$package.part" "$package"
done
