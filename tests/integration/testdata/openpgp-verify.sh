#!/usr/bin/env bash
# usage: openpgp-verify.sh     (in the folder that openpgp-sign.sh filled; the samples are at /samples)
# Judges each result with the samples' verify.sh, and inputs that must be refused. Prints "SCENARIO CHECK VERDICT" lines: 0 is
# accepted, 1 refused. Runs as root in a container that has nothing of signkit and no network.
set -euo pipefail

judge() { # judge SCENARIO CHECK COMMAND…
  local name="$1 $2" verdict=1
  shift 2
  echo "--- $name" >&2
  if "$@" >&2; then verdict=0; fi
  echo "$name $verdict"
}
tamper() { # tamper FILE COPY: changes one octet near the end
  cp "$1" "$2"
  local at octet
  at=$(($(stat -c %s "$1") - 20))
  octet=$(od -An -tu1 -j "$at" -N 1 "$1")
  # shellcheck disable=SC2059
  printf "\\x$(printf %02x $((octet ^ 1)))" | dd of="$2" bs=1 seek="$at" conv=notrunc status=none
  if cmp -s "$1" "$2"; then echo "openpgp-verify.sh: $2 is as before" >&2; exit 1; fi
}
export HOME=/root

verify=/samples/gpg/verify.sh
cp gpg/file gpg/changed && echo x >>gpg/changed
: >gpg/empty
judge gpg-detached signed "$verify" public.asc gpg/file.asc gpg/file
judge gpg-detached unsigned "$verify" public.asc gpg/empty gpg/file
judge gpg-detached tampered "$verify" public.asc gpg/file.asc gpg/changed
judge gpg-detached wrong-key "$verify" other.asc gpg/file.asc gpg/file
sed 's/signed$/changed/' gpg/text.asc >gpg/changed.asc
judge gpg-clear signed "$verify" --output gpg/text.out public.asc gpg/text.asc
cmp gpg/text.out gpg/text >&2
judge gpg-clear unsigned "$verify" public.asc gpg/text
judge gpg-clear tampered "$verify" public.asc gpg/changed.asc
judge gpg-clear wrong-key "$verify" other.asc gpg/text.asc
tamper gpg/data.gpg gpg/changed.gpg
judge gpg-inline signed "$verify" --output gpg/data.out public.asc gpg/data.gpg
cmp gpg/data.out gpg/data >&2
judge gpg-inline unsigned "$verify" public.asc gpg/data
judge gpg-inline tampered "$verify" public.asc gpg/changed.gpg
judge gpg-inline wrong-key "$verify" other.asc gpg/data.gpg

for scenario in rpm-add:demo-one rpm-add-second:demo-two rpm-v3:both rpm-replace:replaced; do
  name=${scenario%:*} package=rpm/${scenario#*:}.rpm
  tamper "$package" rpm/changed.rpm
  judge "$name" signed /samples/rpm/verify.sh public.asc "$package"
  judge "$name" unsigned /samples/rpm/verify.sh public.asc rpm/unsigned.rpm
  judge "$name" tampered /samples/rpm/verify.sh public.asc rpm/changed.rpm
  judge "$name" wrong-key /samples/rpm/verify.sh other.asc "$package"
done

both() { # whether a package has a signature of its header and one of header and payload, of whatever kind of key
  local format='%|RSAHEADER?{h}:{%|DSAHEADER?{h}:{}|}|%|SIGPGP?{p}:{%|SIGGPG?{p}:{}|}|'
  [[ $(rpm --query --package --nosignature --queryformat "$format" "$1") == "$2" ]]
}
judge rpm-v3 both both rpm/both.rpm hp
judge rpm-add both both rpm/demo-one.rpm hp

if [[ -e deb ]]; then
  for scenario in deb-debsigs:demo deb-dpkg-sig:builder; do
    name=${scenario%:*} package=deb/${scenario#*:}.deb
    # Another package under the same signature.
    rm -rf deb/parts deb/changed.deb
    mkdir deb/parts
    (cd deb/parts && ar x "../../$package" && tar -cf data.tar -C /etc hostname && rm -f data.tar.* && gzip data.tar &&
      ar rc ../changed.deb debian-binary control.tar.* data.tar.gz _gpg* 2>/dev/null) || cp deb/unsigned.deb deb/changed.deb
    judge "$name" signed /samples/deb/verify.sh public.asc "$package"
    judge "$name" unsigned /samples/deb/verify.sh public.asc deb/unsigned.deb
    judge "$name" tampered /samples/deb/verify.sh public.asc deb/changed.deb
    judge "$name" wrong-key /samples/deb/verify.sh other.asc "$package"
  done

  strong() { # whether the digest of a package's signature is SHA-256 or better (RFC 9580, section 9.5)
    ar p "$1" _gpgorigin | gpg --batch --list-packets | grep -qE 'digest algo (8|9|10),'
  }
  judge deb-debsigs strong strong deb/demo.deb

  verify=/samples/apt-repository/verify.sh
  cp -r apt apt-unsigned && rm apt-unsigned/dists/stable/InRelease apt-unsigned/dists/stable/Release.gpg
  cp -r apt apt-changed && echo "Origin: someone" >>apt-changed/dists/stable/Release
  sed -i 's/^Suite: stable/Suite: stabel/' apt-changed/dists/stable/InRelease
  judge apt-repository signed "$verify" public.asc apt stable
  judge apt-repository unsigned "$verify" public.asc apt-unsigned stable
  judge apt-repository tampered "$verify" public.asc apt-changed stable
  judge apt-repository wrong-key "$verify" other.asc apt stable
  install() { # apt itself installs the package from the signed repository
    rm -rf /etc/apt/sources.list.d/* /etc/apt/sources.list
    cp public.asc /usr/share/keyrings/demo.asc
    chmod a+r /usr/share/keyrings/demo.asc
    echo "deb [signed-by=/usr/share/keyrings/demo.asc] file:$PWD/apt stable main" >/etc/apt/sources.list.d/demo.list
    apt-get update -o APT::Sandbox::User=root && apt-get install -y -o APT::Sandbox::User=root demo && dpkg -s demo
  }
  judge apt-repository installed install
fi

verify=/samples/yum-repository/verify.sh
cp -r yum yum-unsigned && rm -f yum-unsigned/repodata/repomd.xml.asc
cp -r yum yum-changed && sed -i 's/revision>/revision>1/' yum-changed/repodata/repomd.xml
judge yum-repository signed "$verify" public.asc yum
judge yum-repository unsigned "$verify" public.asc yum-unsigned
judge yum-repository tampered "$verify" public.asc yum-changed
judge yum-repository wrong-key "$verify" other.asc yum

verify=/samples/git/verify.sh
git config --global --add safe.directory '*'
git -C repository cat-file tag v1 | sed 's/^v1$/v2/' >changed-tag
git -C repository update-ref refs/tags/changed "$(git -C repository hash-object -t tag -w --stdin <changed-tag)"
git -C repository cat-file commit HEAD | sed 's/^signed$/changed/' >changed-commit
changed=$(git -C repository hash-object -t commit -w --stdin <changed-commit)
keys=$PWD
cd repository
judge git-tag signed "$verify" "$keys/public.asc" tag v1
judge git-tag unsigned "$verify" "$keys/public.asc" tag plain
judge git-tag tampered "$verify" "$keys/public.asc" tag changed
judge git-tag wrong-key "$verify" "$keys/other.asc" tag v1
judge git-commit signed "$verify" "$keys/public.asc" commit HEAD
judge git-commit unsigned "$verify" "$keys/public.asc" commit HEAD~1
judge git-commit tampered "$verify" "$keys/public.asc" commit "$changed"
judge git-commit wrong-key "$verify" "$keys/other.asc" commit HEAD

cd "$keys"
for name in no-sample no-sample-elsewhere; do
  judge $name gpg /samples/gpg/verify.sh public.asc "gpg/$name.sig" gpg/plain
  judge $name gpg-wrong-key /samples/gpg/verify.sh other.asc "gpg/$name.sig" gpg/plain
  if [[ -e deb ]]; then
    judge $name debsigs /samples/deb/verify.sh public.asc "deb/$name.deb"
    judge $name debsigs-strong strong "deb/$name.deb"
  fi
  judge $name rpmsign /samples/rpm/verify.sh public.asc "rpm/$name.rpm"
  judge $name git env -C repository /samples/git/verify.sh "$keys/public.asc" tag "$name"
  judge $name git-wrong-key env -C repository /samples/git/verify.sh "$keys/other.asc" tag "$name"
done
chmod -R a+rwX "$keys"
