package integration

import (
	"slices"
	"strings"
	"testing"
)

// noScripts are the images whose osslsigncode is older than 2.8: it signs no PowerShell scripts.
var noScripts = []string{"debian-11", "debian-12", "ubuntu-22.04"}

// TestOsslsigncode signs every kind of file that the version knows, with a time-stamp, and once more beside the first
// signature. It is verified with the root alone.
func TestOsslsigncode(t *testing.T) {
	s := need(t)
	cells := append(s.inAll(twoUsers, cell{sample: "osslsigncode", key: "demo/p-256"}),
		s.inAll(users[:1], cell{sample: "osslsigncode", key: "demo/rsa-3072"})...)
	s.each(t, cells, func(w *workplace) {
		kinds := []string{"exe", "msi", "cab", "ps1"}
		if slices.Contains(noScripts, w.image.Name) {
			kinds = kinds[:3]
		}
		names := func(name string) (list []string) {
			for _, kind := range kinds {
				list = append(list, name+"."+kind)
			}
			return list
		}
		w.windowsFiles("file")
		w.windowsFiles("unsigned")
		w.service.clearRequests(w.T)
		w.sign(append([]string{w.key}, names("file")...)...)
		// The certificate and its chain; then for each file a time-stamp to see that the authority gives one, and policy, signature
		// and time-stamp.
		w.service.wantRequests(w.T, 4+4*len(kinds), 1+3*len(kinds))
		for _, name := range names("file") {
			w.missing(name + ".part")
		}

		w.roots("root.pem", "stranger.pem")
		verify := "bash $verify --root root.pem "
		if w.user != users[0] { // who signed makes no difference to the rest
			w.judge(w.image.verifier(w.sample), "", check{"signed", true, verify + strings.Join(names("file"), " ")},
				check{"unsigned", false, verify + "unsigned.exe"})
			return
		}

		w.duplicate("file.exe", "bare.exe") // has a signature, which --no-timestamp replaces
		w.sign("--no-timestamp", w.key, "bare.exe")
		w.duplicate("file.exe", "nested.exe")
		w.duplicate("file.msi", "nested.msi")
		w.duplicate("file.cab", "nested.cab")
		w.sign("--nest", otherKind(w.key), "nested.exe", "nested.msi", "nested.cab")

		checks := []check{
			{"signed", true, verify + strings.Join(names("file"), " ")},
			{"nested", true, verify + "nested.exe nested.msi nested.cab >report && [[ $(grep -c '^Signature verification: ok' report) == 6 ]]"},
			{"wrong root", false, "bash $verify --root stranger.pem --tsa-root root.pem file.exe"},
			{"wrong root of the time-stamp", false, verify + "--tsa-root stranger.pem file.exe"},
			{"no time-stamp", false, verify + "bare.exe"},
			{"no time-stamp wanted", true, verify + "--no-timestamp bare.exe"},
			{"time-stamp of 10 years", true, verify + "file.exe 2>&1 | awk '/about 10 years/ { found = 1 } END { exit found }'"},
			{"time-stamp that lives too short", true, verify + "--tsa-years 11 nested.exe 2>&1 | grep 'about 10 years'"},
		}
		for _, name := range names("unsigned") {
			checks = append(checks, check{name, false, verify + name})
		}
		for _, name := range names("tampered") {
			checks = append(checks, check{name, false, verify + name})
		}
		w.judge(w.image.verifier(w.sample), `
for file in file.*; do cp $file tampered.${file#file.}; done
printf X | dd of=tampered.exe bs=1 seek=520 conv=notrunc
sed -i 's/hello/hallo/' tampered.cab
sed -i "s/'hello'/'hallo'/" tampered.ps1
sed -i 's/Installation Database/Installation database/' tampered.msi`, checks...)
	})
}

// duplicate copies a file of the folder.
func (w *workplace) duplicate(from, to string) {
	w.Helper()
	w.copy(w.dir+"/"+from, to)
}

// otherKind is a key of the other kind.
func otherKind(key string) string {
	if strings.HasPrefix(key, "demo/rsa") {
		return "demo/p-384"
	}
	return "demo/rsa-2048"
}

// TestOsslsigncodeAuthorities: the next time-stamp authority is asked when one does not answer at all, refuses connections, fails, or
// answers nonsense.
func TestOsslsigncodeAuthorities(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:1], cell{sample: "osslsigncode", form: "tsa-fails", key: "demo/p-256"}), func(w *workplace) {
		w.windowsFiles("file")
		w.service.fail(w.T, fault{Route: "tsa", Kind: "hang"}, fault{Route: "tsa", Kind: "status", Status: 503}, fault{Route: "tsa", Kind: "html"})
		// signkit tsa asks until one gives a time-stamp, and osslsigncode asks that one.
		arguments := append(append([]string{"--timeout", "20"}, w.authorities(1)...), "--tsa", "http://127.0.0.1:1/")
		w.sign(append(append(arguments, w.authorities(3)...), w.key, "file.exe")...)
		w.wantStampRequests(4 + 1)
		w.roots("root.pem", "stranger.pem")
		w.judge(w.image.verifier(w.sample), "", check{"signed", true, "bash $verify --root root.pem file.exe"})
	})
}

// TestOsslsigncodeBadStamp: a time-stamp whose signature is wrong is noticed.
func TestOsslsigncodeBadStamp(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:1], cell{sample: "osslsigncode", form: "bad-stamp", key: "demo/p-256"}), func(w *workplace) {
		w.windowsFiles("file")
		// signkit tsa asks first, and does not judge.
		w.service.fail(w.T, fault{Route: "tsa", Kind: "wrong-signature", Count: 2})
		w.sign(w.key, "file.exe")
		w.roots("root.pem", "stranger.pem")
		w.judge(w.image.verifier(w.sample), "", check{"signed", false, "bash $verify --root root.pem file.exe"})
	})
}

// newerOsslsigncode takes osslsigncode and what it signs with from Debian's next release, whose osslsigncode signs through
// pkcs11-provider.
const newerOsslsigncode = `RUN set -eux; \
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1); \
    if [ -z "$mirror" ]; then apt-get update; \
      mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1); fi; \
    echo "deb $mirror forky main" >/etc/apt/sources.list.d/forky.list; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --target-release forky osslsigncode pkcs11-provider openssl; \
    rm -rf /var/lib/apt/lists/*
`

// TestOsslsigncodeProvider signs through pkcs11-provider with the first version that Debian has of it, every kind of file and
// key, and beside a signature that is there. An environment that names another module to libp11 and p11-kit changes nothing.
func TestOsslsigncodeProvider(t *testing.T) {
	s := need(t)
	s.needImage(t, "debian-13")
	cells := slices.DeleteFunc(s.inAll(users[:2], cell{sample: "osslsigncode", form: "provider", key: "demo/p-256"},
		cell{sample: "osslsigncode", form: "provider", key: "demo/rsa-3072"}), func(c cell) bool { return c.image.Name != "debian-13" })
	const newer = "signkit-newer:osslsigncode"
	if err := s.extend(t, cells[0].image, "osslsigncode", newer, newerOsslsigncode); err != nil {
		t.Skipf("Debian's next release has no osslsigncode to install: %v", err)
	}
	for i := range cells {
		cells[i].tag = newer
	}
	s.each(t, cells, func(w *workplace) {
		w.windowsFiles("file")
		w.windowsFiles("unsigned")
		w.more = []string{"PKCS11_MODULE_PATH=/nowhere/other-module.so"}
		sign := func(arguments ...string) { w.sign(append([]string{"--via", "provider"}, arguments...)...) }
		sign(w.key, "file.exe", "file.msi", "file.cab", "file.ps1")
		w.duplicate("file.exe", "nested.exe")
		sign("--nest", otherKind(w.key), "nested.exe")
		w.roots("root.pem", "stranger.pem")
		verify := "bash $verify --root root.pem "
		w.judge(newer, `printf X >byte; cp file.exe tampered.exe; dd if=byte of=tampered.exe bs=1 seek=520 conv=notrunc`,
			check{"signed", true, verify + "file.exe file.msi file.cab file.ps1"},
			check{"no warning of this version", true, verify + "file.exe 2>&1 | awk '/not safe/ { found = 1 } END { exit found }'"},
			check{"nested", true, verify + "nested.exe >report && [[ $(grep -c '^Signature verification: ok' report) == 2 ]]"},
			check{"unsigned", false, verify + "unsigned.exe"},
			check{"tampered", false, verify + "tampered.exe"},
			check{"wrong root", false, "bash $verify --root stranger.pem --tsa-root root.pem file.exe"},
		)
	})
	failing := cells[0]
	failing.form += "-fails"
	s.failsIn(t, []cell{failing}, "pin-value=CONFIG", unsignedProgram("--via", "provider"))
}

// TestOsslsigncodeRefusesScripts: where the version signs no scripts, that is said and the script stays as it was.
func TestOsslsigncodeRefusesScripts(t *testing.T) {
	s := need(t)
	cells := slices.DeleteFunc(s.inAll(users[:1], cell{sample: "osslsigncode", form: "no-scripts", key: "demo/p-256"}),
		func(c cell) bool { return !slices.Contains(noScripts, c.image.Name) })
	s.each(t, cells, func(w *workplace) {
		w.windowsFiles("file")
		w.windowsFiles("original")
		if got := w.script("sign.sh", w.key, "file.ps1"); got.code == 0 || !strings.Contains(got.stderr, "did not sign file.ps1") {
			w.Errorf("ended with %d", got.code)
		}
		w.sameAs("file.ps1", "original.ps1")
	})
}

func TestOsslsigncodeFailures(t *testing.T) {
	need(t).fails(t, "osslsigncode", "pin-value=CONFIG", unsignedProgram())
}

// unsignedProgram prepares a program that sign.sh, with some options, must leave as it is.
func unsignedProgram(options ...string) func(*workplace) (arguments func(key string) []string, kept func()) {
	return func(w *workplace) (arguments func(key string) []string, kept func()) {
		w.windowsFiles("file")
		w.windowsFiles("original")
		return func(key string) []string { return append(slices.Clone(options), key, "file.exe") }, func() {
			w.sameAs("file.exe", "original.exe")
			w.missing("file.exe.part")
		}
	}
}
