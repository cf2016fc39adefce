#!/usr/bin/env bash
# usage: openpgp-sign.sh PROJECT/POLICY OTHER-PROJECT/POLICY     (in the current folder, which must be empty)
# Makes a package, repository or file of every kind and signs it with the samples. Prints "SCENARIO STATUS" lines; what the
# samples say goes to stderr. Public keys of both policies stay in public.asc and other.asc.
set -euo pipefail

key=$1 other=$2
samples=/usr/share/signkit/samples
work=$PWD

attempt() { # attempt SCENARIO COMMAND…
  local name=$1 status=0
  shift
  echo "--- $name" >&2
  "$@" </dev/null >&2 || status=$?
  echo "$name $status"
}

signkit gpg export "$key" >public.asc
signkit gpg export "$other" >other.asc

mkdir gpg
echo "what is to be signed" >gpg/file
cp gpg/file gpg/text
cp gpg/file gpg/data
attempt gpg-detached "$samples/gpg/sign.sh" "$key" gpg/file
attempt gpg-clear "$samples/gpg/sign.sh" --clear "$key" gpg/text
attempt gpg-inline "$samples/gpg/sign.sh" --inline "$key" gpg/data

mkdir rpm
for name in one two; do
  cat >"rpm/$name.spec" <<SPEC
Name: demo-$name
Version: 1
Release: 1
Summary: demo
License: MIT
BuildArch: noarch
%description
demo
%install
mkdir -p %{buildroot}/opt && echo content >%{buildroot}/opt/demo-$name
%files
/opt/demo-$name
SPEC
  HOME=$work rpmbuild --quiet -bb --define "_topdir $work/rpm" --define "_rpmdir $work/rpm" --define "_tmppath $work/rpm" \
    --define "_build_name_fmt %%{NAME}.rpm" "rpm/$name.spec" >&2
done
cp rpm/demo-one.rpm rpm/unsigned.rpm
cp rpm/demo-one.rpm rpm/both.rpm
attempt rpm-add "$samples/rpm/sign.sh" --add "$key" rpm/demo-one.rpm rpm/demo-two.rpm
attempt rpm-v3 "$samples/rpm/sign.sh" --rpmv3 "$key" rpm/both.rpm
cp rpm/unsigned.rpm rpm/replaced.rpm
"$samples/rpm/sign.sh" "$other" rpm/replaced.rpm </dev/null >&2 || true # where rpm takes that kind of key
attempt rpm-replace "$samples/rpm/sign.sh" --replace "$key" rpm/replaced.rpm

# Who runs this knows which releases have Debian's tools, and misses what is not tried.
if command -v dpkg-deb >/dev/null; then
  mkdir -p deb/demo/DEBIAN
  cat >deb/demo/DEBIAN/control <<CONTROL
Package: demo
Version: 1
Architecture: all
Maintainer: Demo <demo@example.com>
Description: demo
CONTROL
  chmod -R u+rwX,go=rX deb/demo
  dpkg-deb --build --root-owner-group deb/demo deb/demo.deb >&2
  cp deb/demo.deb deb/unsigned.deb
  cp deb/demo.deb deb/builder.deb
  attempt deb-debsigs "$samples/deb/sign.sh" "$key" deb/demo.deb
  if command -v dpkg-sig >/dev/null; then
    attempt deb-dpkg-sig "$samples/deb/sign.sh" --with dpkg-sig "$key" deb/builder.deb
  fi

  mkdir -p apt/dists/stable/main/binary-all apt/dists/stable/main/binary-amd64 apt/pool
  cp deb/unsigned.deb apt/pool/demo_1_all.deb
  for architecture in all amd64; do
    (cd apt && apt-ftparchive packages pool >"dists/stable/main/binary-$architecture/Packages")
  done
  apt-ftparchive -o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Components=main \
    -o APT::FTPArchive::Release::Architectures="all amd64" release apt/dists/stable >Release
  mv Release apt/dists/stable/Release
  attempt apt-repository "$samples/apt-repository/sign.sh" "$key" apt/dists/stable/Release
fi

mkdir -p yum/packages
cp rpm/unsigned.rpm yum/packages/demo.rpm
HOME=$work createrepo_c --quiet yum >&2
attempt yum-repository "$samples/yum-repository/sign.sh" "$key" yum

export GIT_AUTHOR_NAME=Demo GIT_AUTHOR_EMAIL=demo@example.com GIT_COMMITTER_NAME=Demo GIT_COMMITTER_EMAIL=demo@example.com
export HOME=$work
git init --quiet repository >&2
cd repository
echo content >file
git add file
git commit --quiet --message unsigned
git tag --annotate --message plain plain
attempt git-tag "$samples/git/sign.sh" "$key" tag v1
echo more >>file
git add file
attempt git-commit "$samples/git/sign.sh" "$key" commit --message signed

# The tools' own commands after the one line, with the key named as each has it; gpg and debsigs take the default one. HOME is
# not set or names nothing, standard input is closed, and no container here has a terminal.
cd "$work"
cp gpg/file gpg/plain
for name in no-sample no-sample-elsewhere; do
  cp rpm/unsigned.rpm "rpm/$name.rpm"
  if [[ -e deb ]]; then cp deb/unsigned.deb "deb/$name.deb"; fi
done
plain() { # plain NAME: without a sample
  set -eu
  eval "$(signkit gpg init "$key")"
  gpg --yes --output "gpg/$1.sig" --detach-sign gpg/plain
  if [[ -e deb ]]; then debsigs --sign=origin "deb/$1.deb"; fi
  git -C repository -c "user.signingKey=$GPG_KEY_ID" tag --sign --message "$1" "$1"
  rpmsign --define "_gpg_name $GPG_KEY_ID" --addsign "rpm/$1.rpm"
}
export -f plain
export key
attempt no-sample env -u HOME bash -c 'plain no-sample <&-'
attempt no-sample-elsewhere env HOME=/nonexistent bash -c 'plain no-sample-elsewhere <&-'

# Whoever tears the folder down may be another user. The folder itself may be another user's, too.
find "$work" -mindepth 1 -exec chmod a+rwX {} +
