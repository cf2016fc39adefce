#!/usr/bin/env bash
# A keyring that holds the same OpenPGP key twice (as `cat old.gpg new.gpg`, or a folder of keyrings that are joined, makes it
# when a key was extended): gpgv judges the key's end by the first copy alone (EXPKEYSIG where that one has expired), while sqv,
# which apt of Debian 13 uses in gpgv's place, merges the copies, and the order does not matter. The same repository and keyring
# are expired for one and good for the other. A signing subkey that only the second copy has is found by both.
# Seen with gpgv 2.2.40 and sqv 1.1.0 (Debian 12, pinned below; also gpgv 2.4.9 and sqv 1.5).
set -euo pipefail

work=$(mktemp -d)
trap 'gpgconf --homedir "$work/home" --kill all; rm -rf "$work"' EXIT
cd "$work"
apt-get download -q gpgv=2.2.40-1.1+deb12u2 sqv=1.1.0-1+b5 >log 2>&1 || { cat log >&2; exit 2; }
for package in ./*.deb; do dpkg -x "$package" root; done
"$work/root/usr/bin/gpgv" --version | head -n 1
"$work/root/usr/bin/sqv" --version 2>&1 | head -n 1

# The key was made for a year, long ago, and is extended, then gets a signing subkey.
mkdir -m 700 home
export GNUPGHOME=$work/home
quiet() { gpg --quiet --batch --passphrase '' "$@" 2>/dev/null; }
quiet --faked-system-time 20240101T000000 --quick-generate-key 'Repository <repository@example.org>' ed25519 sign 1y
key=$(gpg --batch --with-colons --list-keys 2>/dev/null | awk -F: '/^fpr/ { print $10; exit }')
quiet --export "$key" >old.gpg
quiet --quick-set-expire "$key" 20y
quiet --export "$key" >new.gpg
echo release >file
quiet --local-user "$key!" --output primary.sig --detach-sign file
quiet --quick-add-key "$key" ed25519 sign 1y
quiet --export "$key" >subkey.gpg
quiet --output subkey.sig --detach-sign file

# judge NAME SIGNATURE KEYRING…: the keyrings joined in this order, what both say
judge() {
  local name=$1 signature=$2 gpgv=refuses sqv=refuses
  shift 2
  cat "$@" >joined.gpg
  "$work/root/usr/bin/gpgv" --status-fd 3 --keyring "$work/joined.gpg" "$signature" file 3>status 2>/dev/null || true
  if grep -q ' GOODSIG ' status; then gpgv=good; elif grep -q ' EXPKEYSIG ' status; then gpgv=expired; fi
  if "$work/root/usr/bin/sqv" --keyring joined.gpg "$signature" file >/dev/null 2>&1; then sqv=good; fi
  echo "$name: gpgv $gpgv, sqv $sqv"
}

{
  judge "the new copy first" primary.sig new.gpg old.gpg
  judge "the old copy first" primary.sig old.gpg new.gpg
  judge "with the subkey first" subkey.sig subkey.gpg new.gpg
  judge "without the subkey first" subkey.sig new.gpg subkey.gpg
} | tee seen
diff - seen <<'SEEN' || { echo "changed" >&2; exit 1; }
the new copy first: gpgv good, sqv good
the old copy first: gpgv expired, sqv good
with the subkey first: gpgv good, sqv good
without the subkey first: gpgv good, sqv good
SEEN
