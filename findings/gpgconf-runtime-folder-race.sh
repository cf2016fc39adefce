#!/usr/bin/env bash
# The first programs of GnuPG after a login make /run/user/UID/gnupg for their sockets. Where several start at the same moment
# (parallel jobs of a runner, a batch that signs with several homes), one that loses the race to make that folder does not use the
# one that is there now: it takes its home folder instead, without a word. gpgconf then names a socket at which no agent will
# listen, or an agent listens where no gpg looks. Once the folder is there, all agree.
# Seen with GnuPG 2.2.40 (Debian 12, pinned below); how often depends on the machine: some in a thousand.
set -euo pipefail

# A user and mount namespace, so that /run/user is ours to make and nobody else's to see.
if [[ ${1-} != inside ]]; then exec unshare --user --map-root-user --mount --pid --fork --mount-proc "$0" inside; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -q -o APT::Sandbox::User=root gpgconf=2.2.40-1.1+deb12u2 >log 2>&1 || { cat log >&2; exit 2; }
dpkg -x ./*.deb root
"$work/root/usr/bin/gpgconf" --version | head -n 1
mount -t tmpfs -o mode=755 none /run
mkdir -p "/run/user/$(id -u)"
chmod 700 "/run/user/$(id -u)"
mkdir -m 700 home

ask() { "$work/root/usr/bin/gpgconf" --homedir "$work/home" --list-dirs agent-socket; }
deadline=$((SECONDS + 120)) elsewhere=0 asked=0
while [[ $elsewhere -eq 0 && $SECONDS -lt $deadline ]]; do
  rm -rf "/run/user/$(id -u)/gnupg"
  for _ in 1 2 3 4 5 6; do ask & done >answers
  wait
  asked=$((asked + 6))
  elsewhere=$(grep -c "^$work/home/" answers || true)
done
if [[ $elsewhere -eq 0 ]]; then
  echo "changed, or this machine does not show it: $asked answers, all in /run/user" >&2
  exit 1
fi
echo "of programs that started at the same moment, some named the socket in the home:"
sed "s|$work|…|" answers | sort | uniq -c
echo "asked again: $(ask | sed "s|$work|…|")"
[[ $(ask) == /run/user/* ]]
