#!/usr/bin/env bash
# usage: verify.sh PUBLIC-KEY PACKAGE.rpm…
#
# Checks that every package is signed with the key in PUBLIC-KEY (as `signkit gpg export` prints it), and not only intact:
# `rpm --checksig` alone takes a package without any signature. Needed: rpm, gpg.
set -euo pipefail

[[ $# -ge 2 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GNUPGHOME=$work LC_ALL=C TZ=UTC

# A package database of its own, with this one key.
rpmkeys --dbpath "$work/db" --import "$1"
keys=$(gpg --batch --quiet --no-autostart --with-colons --show-keys "$1")

# rpm prints a line for each signature, whichever tag has it: OPENPGP is that of rpm 6, which others may not know.
format=''
known=$(rpm --querytags)
for tag in RSAHEADER DSAHEADER SIGPGP SIGGPG OPENPGP; do
  if grep -qx "$tag" <<<"$known"; then format+="[%{$tag:pgpsig}\n]"; fi
done

for package in "${@:2}"; do
  # rpmkeys says the name, too, and some releases take blanks and quotes in one for their own: so it gets one of ours.
  ln -sf "$(realpath "$package")" "$work/input.rpm"
  report=$(cd "$work" && rpmkeys --dbpath "$work/db" --checksig --verbose input.rpm) || { echo "$package: $report"; exit 1; }
  echo "$package: $report"
  if ! grep -Eqi 'signature, key (id|fingerprint).*: OK$' <<<"$report" || grep -i signature <<<"$report" | grep -v ': OK$' >/dev/null; then
    echo "verify.sh: $package: no signature of this key" >&2
    exit 1
  fi

  # Not every rpm looks whether the key, or the subkey that signed, has been revoked (r) or has expired (e): gpg's list says so.
  while read -r signer; do
    awk -F: -v "signer=${signer^^}\$" '
      $1 == "pub" { primary = $2 }
      $1 == "pub" || $1 == "sub" { state = $2 }
      $1 == "fpr" && $10 ~ signer { found = 1; if (primary state ~ /[re]/) ended = 1 }
      END { exit found && !ended ? 0 : 1 }' <<<"$keys" || { echo "verify.sh: $package: the key $signer has been revoked or has expired" >&2; exit 1; }
  done < <(sed -En 's/.*signature, key (id|fingerprint):? *([0-9a-f]+): OK$/\2/Ip' <<<"$report")

  # It takes signatures of a day to come, too. Clocks may differ by hours.
  signatures=$(cd "$work" && rpm --dbpath "$work/db" --nosignature --nodigest -qp --queryformat "$format" input.rpm)
  signatures=$(grep -v '^(none)$' <<<"$signatures") || { echo "verify.sh: $package: rpm does not say when it was signed" >&2; exit 1; }
  while IFS= read -r signature; do # RSA/SHA256, Tue Nov  3 16:48:11 2020, Key ID 05b555b38483c65d
    made=$(date -d "$(cut -d , -f 2 <<<"$signature")" +%s) || { echo "verify.sh: $package: no date in: $signature" >&2; exit 1; }
    ((made <= $(date +%s) + 86400)) || { echo "verify.sh: $package is dated $(date -d "@$made" +%F), which is to come" >&2; exit 1; }
  done <<<"$signatures"
done
