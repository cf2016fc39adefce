package integration

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// packages makes dist/demo.rpm and dist/demo.deb in a tool container.
const packages = `
mkdir -p dist deb/DEBIAN
cat >demo.spec <<SPEC
Name: demo
Version: 1
Release: 1
Summary: demo
License: MIT
BuildArch: noarch
%description
demo
%files
SPEC
HOME=$PWD rpmbuild --quiet -bb --define "_topdir $PWD/rpm" --define "_rpmdir $PWD/rpm" --define "_tmppath $PWD" \
  --define "_build_name_fmt %%{NAME}.rpm" demo.spec
mv rpm/demo.rpm dist/
printf 'Package: demo\nVersion: 1\nArchitecture: all\nMaintainer: Demo <demo@example.com>\nDescription: demo\n' >deb/DEBIAN/control
chmod -R u+rwX,go=rX deb
dpkg-deb --build --root-owner-group deb dist/demo.deb
tar -czf dist/demo.tar.gz demo.spec
mv program.exe demo.jar dist/
signkit gpg export demo/gpg-rsa-4096 --output public.asc
cp -r dist unsigned
`

// TestSignMixedFolder signs rpm, deb, jar, exe and tar.gz in one call; each ecosystem's own verifier judges, with public
// material only. One bad file among them, and the call is red while the others are signed.
func TestSignMixedFolder(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(twoUsers, cell{sample: "jarsigner", form: "mixed-folder", key: "demo/rsa-3072"}), func(w *workplace) {
		w.windowsFiles("program")
		w.jar("demo.jar")
		w.roots("root.pem", "stranger.pem")
		const sign = "signkit sign --key demo/gpg-rsa-4096 --key demo/rsa-3072 --root root.pem --jobs 2 --manifest signed.json "
		// The manifest has its signing requests whether or not the user wants a log.
		got := w.tool("bash", "-euo", "pipefail", "-c", packages+
			"SIGNPATH_LOG_FILE_DIRECTORY=logs SIGNPATH_LOG_FILE_LEVEL=info "+sign+"dist/*\ngrep -q signingRequestId logs/*.txt")
		if got.code != 0 {
			w.Fatalf("signing ended with %d", got.code)
		}
		w.wantManifest("signed.json", map[string]string{
			"dist/demo.deb": "signed", "dist/demo.jar": "signed", "dist/demo.rpm": "signed", "dist/demo.tar.gz": "signed", "dist/program.exe": "signed",
		})
		w.judge(w.image.verifier(w.sample), `
gpg --batch --quiet --dearmor --output keyring.gpg public.asc
keytool -importcert -noprompt -alias root -file root.pem -keystore roots.p12 -storetype PKCS12 -storepass changeit >&2
echo x >>unsigned/demo.tar.gz`,
			check{"tar.gz", true, "gpgv --keyring ./keyring.gpg dist/demo.tar.gz.asc dist/demo.tar.gz"},
			check{"tar.gz tampered", false, "gpgv --keyring ./keyring.gpg dist/demo.tar.gz.asc unsigned/demo.tar.gz"},
			check{"rpm", true, "rpmkeys --dbpath $PWD/db --import public.asc && rpmkeys --dbpath $PWD/db --checksig -v dist/demo.rpm | grep -i 'signature.*OK$'"},
			check{"rpm unsigned", false, "rpmkeys --dbpath $PWD/db --checksig -v unsigned/demo.rpm | grep -i 'signature.*OK$'"},
			check{"deb", true, "ar t dist/demo.deb | grep -qx _gpgorigin && ar p dist/demo.deb _gpgorigin >origin && mkdir parts && " +
				"cd parts && ar x ../dist/demo.deb && cat debian-binary control.tar.* data.tar.* | gpgv --keyring ../keyring.gpg ../origin -"},
			check{"deb unsigned", false, "ar t unsigned/demo.deb | grep -qx _gpgorigin"},
			check{"jar", true, "jarsigner -verify -strict -keystore roots.p12 -storepass changeit dist/demo.jar | grep -q 'jar verified'"},
			check{"jar unsigned", false, "jarsigner -verify -strict -keystore roots.p12 -storepass changeit unsigned/demo.jar | grep -q 'jar verified'"},
			check{"exe", true, "osslsigncode verify -CAfile root.pem -in dist/program.exe 2>&1 | grep -q '^Signature verification: ok'"},
			check{"exe unsigned", false, "osslsigncode verify -CAfile root.pem -in unsigned/program.exe"},
			check{"exe wrong root", false, "osslsigncode verify -CAfile stranger.pem -in dist/program.exe"},
		)
		w.oneBadFile(sign)
	})
}

// TestSignCMS signs with every image's openssl; plain openssl verifies.
func TestSignCMS(t *testing.T) {
	s := need(t)
	cells := s.inAll(users[:2], cell{sample: "openssl", form: "signkit-cms", key: "demo/rsa-3072"},
		cell{sample: "openssl", form: "signkit-cms", key: "demo/p-256"})
	s.each(t, cells, func(w *workplace) {
		w.write("file", "what is to be signed: "+w.Name()+"\n")
		w.roots("root.pem", "stranger.pem")
		if got := w.tool("signkit", "sign", "--cms", "--key", w.key, "--root", "root.pem", "file"); got.code != 0 {
			w.Fatalf("signing ended with %d", got.code)
		}
		verify := "openssl cms -verify -binary -inform DER -in file.p7s -purpose any -no-CApath -out /dev/null "
		w.judge(w.image.plain(), "cp file tampered; echo x >>tampered",
			check{"signed", true, verify + "-CAfile root.pem -content file"},
			check{"tampered", false, verify + "-CAfile root.pem -content tampered"},
			check{"wrong root", false, verify + "-CAfile stranger.pem -content file"},
		)
	})
}

// oneBadFile: a package that rpm cannot read among good files.
func (w *workplace) oneBadFile(sign string) {
	w.Helper()
	w.write("bad.rpm", "\xed\xab\xee\xdb and no more")
	w.write("good.txt", "content\n")
	got := w.tool("bash", "-c", "mkdir -p mixed && mv bad.rpm good.txt mixed/ && "+sign+"mixed/*")
	if got.code != 7 {
		w.Errorf("with a bad file signing ended with %d, want 7", got.code)
	}
	w.wantManifest("signed.json", map[string]string{"mixed/bad.rpm": "failed", "mixed/good.txt": "signed"})
}

// wantManifest compares files and how they ended.
func (w *workplace) wantManifest(name string, want map[string]string) {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.Fatal(err)
	}
	var manifest struct {
		Files []struct {
			File, Status string
			SHA256       string
			Requests     []string `json:"signing_requests"`
		}
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		w.Fatal(err)
	}
	got := map[string]string{}
	for _, entry := range manifest.Files {
		got[entry.File] = entry.Status
		if entry.Status == "signed" && (len(entry.SHA256) != 64 || len(entry.Requests) == 0) {
			w.Errorf("%s: no digest or no signing request in the manifest", entry.File)
		}
	}
	if !maps.Equal(got, want) {
		w.Errorf("the manifest says %v, want %v", got, slices.Sorted(maps.Keys(want)))
	}
}
