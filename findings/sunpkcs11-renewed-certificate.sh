#!/usr/bin/env bash
# A token with a key and its certificate, and then the renewed certificate beside it (same key, CKA_ID, label and subject, other
# serial number), as a renewal leaves it when nobody deletes the old one: SunPKCS11 (jarsigner, keytool, Gradle …) renames the
# entry from LABEL to LABEL/issuer/serial, so that the alias of every build script is gone, and it pairs the key with one of the
# two certificates, whichever the token lists first; the other is in no entry. With SoftHSM, whose objects have random names,
# that differs from token to token: the old certificate or the new one, after the same steps. pkcs11-tool lists all three objects.
# Seen with OpenJDK 17.0.21 and SoftHSM 2.6.1 (Debian 12, pinned below; also OpenJDK 25.0.5).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -q openjdk-17-jre-headless=17.0.21.1+2-1~deb12u1 libsofthsm2=2.6.1-2.1 softhsm2=2.6.1-2.1 opensc=0.23.0-0.3+deb12u2 \
  opensc-pkcs11=0.23.0-0.3+deb12u2 \
  >log 2>&1 || { cat log >&2; exit 2; }
for package in ./*.deb; do dpkg -x "$package" root; done
java=$(echo "$work"/root/usr/lib/jvm/java-17-openjdk-*)
while read -r link; do # the package's configuration, not the machine's
  ln -sfn "$work/root$(readlink "$link")" "$link"
done < <(find "$java" -lname '/etc/*')
module=$work/root/usr/lib/softhsm/libsofthsm2.so

"$java/bin/java" -version 2>&1 | head -n 1
"$work/root/usr/bin/softhsm2-util" --version

mkdir tokens
echo "directories.tokendir = $work/tokens" >softhsm2.conf
export SOFTHSM2_CONF=$work/softhsm2.conf
"$work/root/usr/bin/softhsm2-util" --module "$module" --init-token --free --label test --so-pin 1234 --pin 1234 >/dev/null
libraries=$(dirname "$(find "$work/root" -name 'libopensc.so.*' -print -quit)")
put() {
  LD_LIBRARY_PATH=$libraries "$work/root/usr/bin/pkcs11-tool" --module "$module" --login --pin 1234 --id 01 --label release "$@" \
    >/dev/null 2>&1
}
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -outform der -out key.der 2>/dev/null
for serial in 1 2; do
  openssl req -x509 -key key.der -keyform der -subj /CN=Example -days $((serial * 100)) -set_serial "$serial" -outform der \
    -out "certificate$serial.der" 2>/dev/null
done
printf 'name=test\nlibrary=%s\nslotListIndex=0\n' "$module" >sunpkcs11.cfg

# entries: alias and certificate, as keytool sees them
entries() {
  "$java/bin/keytool" -J-Duser.language=en -list -keystore NONE -storetype PKCS11 -storepass 1234 \
    -providerClass sun.security.pkcs11.SunPKCS11 -providerArg sunpkcs11.cfg >list 2>log
  local serial print
  for serial in 1 2; do
    print=$(openssl x509 -inform der -in "certificate$serial.der" -noout -fingerprint -sha256)
    if grep -qF "${print#*=}" list; then echo "certificate $serial"; fi
  done
  sed -n 's/, PrivateKeyEntry.*//p' list
}

put --type privkey --write-object key.der
put --type cert --write-object certificate1.der
entries >before
put --type cert --write-object certificate2.der
entries >after
cat before after
[[ $(<before) == $'certificate 1\nrelease' ]] || { echo "changed: one certificate" >&2; exit 1; }
case $(<after) in
  $'certificate 1\nrelease/cn=example/1' | $'certificate 2\nrelease/cn=example/2') ;;
  *) echo "changed: two certificates" >&2; exit 1 ;;
esac
