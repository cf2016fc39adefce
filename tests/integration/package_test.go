package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestPackages installs the packages of a release where nothing of signkit is, runs what they bring, and removes them.
func TestPackages(t *testing.T) {
	s := need(t)
	dir := t.TempDir()
	pack := exec.CommandContext(within(t, buildLimit), filepath.Join(root, "scripts/package.sh"), filepath.Join(root, "build"), runtime.GOARCH, dir, "deb", "rpm")
	pack.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("scripts/package.sh: %v\n%s", err, out)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, img := range s.images {
		for format, command := range map[string]string{
			"deb": "dpkg -i /packages/*.deb; uses; dpkg --purge signkit; gone",
			// Of the packages that it depends on, Debian's rpm knows nothing.
			"rpm": "rpm -i --nodeps /packages/*.rpm; rpm -V --nodeps signkit; uses; rpm -e signkit; gone",
		} {
			if format == "deb" && !slices.Contains([]string{"debian", "ubuntu"}, img.Family) {
				continue
			}
			t.Run(img.Name+"/"+format, func(t *testing.T) {
				t.Parallel()
				got := s.run(t, container{image: img.verifier("rpm"), binds: []string{dir + ":/packages:ro"}, once: true, command: []string{"bash", "-euc", inPackage + command}})
				if got.code != 0 || !strings.Contains(got.stdout, "everything works\n") || !strings.HasSuffix(got.stdout, "nothing left\n") {
					t.Errorf("ended with %d", got.code)
				}
			})
		}
	}
}

// inPackage (under set -e) tries each installed program, and looks for what a removed package has left.
const inPackage = `
uses() {
  signkit version
  /usr/lib/signkit/signkit-tokend --version
  echo BYE | /usr/lib/signkit/signkit-scdaemon --server
  pkcs11-tool --module /usr/lib/signkit/libSignPath.Cryptoki.so --show-info
  p11-kit list-modules | grep libsignkit-pkcs11.so
  OPENSSL_CONF=/etc/signkit/openssl-engine.cnf openssl version
  test -x /usr/share/signkit/samples/openssl/sign.sh
  bash -n /usr/share/bash-completion/completions/signkit
  echo "everything works"
}
gone() {
  for path in /usr/lib/signkit /usr/share/signkit /etc/signkit /usr/bin/signkit /usr/share/p11-kit/modules/signkit.module; do
    if [ -e "$path" ]; then echo "left behind: $path"; exit 1; fi
  done
  echo "nothing left"
}
`
