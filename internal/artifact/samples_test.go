package artifact

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"signkit/internal/mockapi"
)

// standIn takes the place of cosign and notation, which no distribution has with PKCS#11. It signs with openssl, and prints what
// cosign 3.1 prints whatever happens: a notice of deprecation that has the word "timestamp" in it.
const standIn = `#!/bin/bash
case "$*" in *--help*) exit ;; esac
echo 'Flag --timestamp-server-url has been deprecated, timestamp authorities come from the signing config' >&2
exec openssl dgst -engine pkcs11 -keyform engine -sha256 -out signature \
  -sign "pkcs11:object=${STAND_IN_KEY/\//%2F};type=private;pin-value=CONFIG" file
`

// TestSamplesSignOnce: the words of a tool never make a sample sign again, for each authority that there is.
func TestSamplesSignOnce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		sample, file string
		tools        []string
		arguments    []string // after the key
		standIn      bool
	}{
		{"cosign", "", []string{"openssl"}, []string{"blob", "file"}, true},
		{"notation", "", []string{"openssl"}, []string{"registry.example.com/app@sha256:0"}, true},
		{"jarsigner", "app.jar", []string{"jarsigner", "keytool"}, []string{"app.jar"}, false},
		{"osslsigncode", "app.exe", []string{"osslsigncode", "openssl"}, []string{"app.exe"}, false},
	}
	for _, test := range tests {
		t.Run(test.sample, func(t *testing.T) {
			t.Parallel()
			need(t, test.tools...)
			s := startService(t)
			const key = "demo/timestamp-tsa"
			s.environ = append(s.environ, "SIGNKIT_TSA_URL="+refusing+" "+s.TSAURL()+" "+s.TSAURL()+"?2", "STAND_IN_KEY="+key,
				"PKCS11_MODULE_PATH="+filepath.Join(s.folder, "libsignkit-pkcs11.so"))
			dir := t.TempDir()
			write(t, filepath.Join(dir, "file"), "content\n")
			unsigned[Jar](t, dir)
			unsigned[Authenticode](t, dir)
			arguments := append([]string{key}, test.arguments...)
			if test.standIn {
				if err := os.WriteFile(filepath.Join(dir, test.sample), []byte(standIn), 0o755); err != nil {
					t.Fatal(err)
				}
				s.environ = append(s.environ, "PATH="+dir+":"+s.folder+":"+os.Getenv("PATH"))
			}
			if test.sample == "notation" {
				arguments = append([]string{"--tsa-root", s.RootFile()}, arguments...)
			}

			s.fail(t, mockapi.Fault{Route: "sign", Kind: "status", Status: http.StatusForbidden, Count: -1})
			s.signatures()
			output, err := s.sample(t, dir, test.sample, arguments...)
			if n := s.signatures(); n != 1 || err == nil {
				t.Errorf("refused by the service: %d signing requests, %v\n%s", n, err, output)
			}
			if !strings.Contains(output, "403 Forbidden") || strings.Contains(output, "no time-stamp") {
				t.Errorf("not the service, but a time-stamp is blamed:\n%s", output)
			}

			s.fail(t, mockapi.Fault{Route: "tsa", Kind: "status", Status: http.StatusNotFound, Count: -1})
			output, err = s.sample(t, dir, test.sample, arguments...)
			if n := s.signatures(); n != 0 || err == nil || !strings.Contains(output, "404 Not Found") {
				t.Errorf("no authority gives a time-stamp: %d signing requests, %v\n%s", n, err, output)
			}

			s.fail(t)
			if test.standIn {
				return // it makes none of the files
			}
			if output, err := s.sample(t, dir, test.sample, arguments...); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
			if n := s.signatures(); n != 1 {
				t.Errorf("%d signing requests", n)
			}
			kind := map[string]Kind{"app.jar": Jar, "app.exe": Authenticode}[test.file]
			verifier := &Verifier{Roots: s.RootFile(), Chain: s.signer(t, "timestamp-tsa").X509.Chain, TimeStamp: true, Environ: os.Environ()}
			if err := verifier.Verify(t.Context(), kind, filepath.Join(dir, test.file), dir); err != nil {
				t.Errorf("the signed file: %v", err)
			}
		})
	}
}

// TestSamplesTakeOnlyASignerBelowTheRoot: not one whom the machine trusts, nor a web server.
func TestSamplesTakeOnlyASignerBelowTheRoot(t *testing.T) {
	need(t, "openssl")
	root, otherRoot := issue(t, "Root", nil, nil), issue(t, "Other Root", nil, nil)
	roots := rootsFile(t, root)
	t.Setenv("SSL_CERT_FILE", rootsFile(t, root, otherRoot))
	for name, test := range map[string]struct {
		signer *identity
		want   string // in the output; empty: verified
	}{
		"ours":              {issue(t, "Ours", root, nil), ""},
		"e-mail":            {issue(t, "Mail", root, purpose(x509.ExtKeyUsageEmailProtection)), ""},
		"for any purpose":   {issue(t, "Ours", root, purpose()), ""},
		"below another":     {issue(t, "Other", otherRoot, nil), "unable to get local issuer certificate"},
		"a web server":      {issue(t, "www.example.com", root, purpose(x509.ExtKeyUsageServerAuth)), "is not for code"},
		"a server's client": {issue(t, "Client", root, purpose(x509.ExtKeyUsageClientAuth)), "is not for code"},
	} {
		t.Run(name, func(t *testing.T) {
			file := textFile(t, "app.bin", "content\n")
			key, _ := test.signer.store(t)
			shell(t, "", "openssl", "dgst", "-sha256", "-sign", key, "-out", file+".sig", file)
			for _, name := range []string{"openssl/verify.sh", "pkcs11-tool/verify.sh"} {
				output, err := sample(t, name, "--root", roots, key, file)
				if (err == nil) != (test.want == "") || !strings.Contains(output, test.want) {
					t.Errorf("%s: %v, want %q\n%s", name, err, test.want, output)
				}
			}
		})
	}
}

func purpose(purposes ...x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = purposes }
}

// gpgSample runs a sample that signs with gpg, where the key is one of gpg's own: a stand-in takes the place of signkit.
func gpgSample(t *testing.T, key *OpenPGP, args ...string) (string, error) {
	t.Helper()
	public, err := filepath.Abs(key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	stub(t, "signkit", `case "$1 $2" in
  "gpg init") echo "export GNUPGHOME=`+key.Home+` GPG_KEY_ID=`+key.Fingerprint+`" ;;
  "gpg export") cat `+public+` ;;
esac
`)
	return sample(t, args...)
}

// TestGPGSamplesKeepOthersSignatures, and make those of their own key anew.
func TestGPGSamplesKeepOthersSignatures(t *testing.T) {
	need(t, "bash", "gpg")
	ours, other := softKey(t, "ours"), softKey(t, "other")
	tar := func(t *testing.T) string { return textFile(t, "app.tar.gz", "content\n") }
	apt := func(t *testing.T) string { return textFile(t, "Release", "Suite: stable\nCodename: stable\n") }
	for _, test := range []struct {
		sample string
		tools  []string
		make   func(t *testing.T) string
		names  []string // of what the sample writes, besides the file
	}{
		{"gpg", nil, tar, []string{"app.tar.gz.asc"}},
		{"gpg --clear", nil, tar, []string{"app.tar.gz.asc"}},
		{"gpg --inline", nil, tar, []string{"app.tar.gz.gpg"}},
		{"apt-repository", nil, apt, []string{"InRelease", "Release.gpg"}},
		{"yum-repository", nil, yumIndex, []string{"repomd.xml.asc"}},
		{"rpm", []string{"rpmsign", "rpmkeys", "rpmbuild"}, func(t *testing.T) string { return rpmPackage(t) }, nil},
		{"deb", []string{"debsigs", "dpkg-deb", "ar"}, func(t *testing.T) string { return debPackage(t) }, nil},
	} {
		t.Run(test.sample, func(t *testing.T) {
			need(t, test.tools...)
			file := test.make(t)
			state := func() string {
				t.Helper()
				text := ""
				for _, name := range append(test.names, filepath.Base(file)) {
					sum, err := digest(deadline(t), filepath.Join(filepath.Dir(file), name))
					if err != nil {
						t.Fatal(err)
					}
					text += sum
				}
				return text
			}
			name, option, _ := strings.Cut(test.sample, " ")
			argument := file
			if name == "yum-repository" {
				argument = filepath.Dir(filepath.Dir(file))
			}
			sign := func(key *OpenPGP) (string, error) {
				args := []string{name + "/sign.sh", option, "demo/key", argument}
				return gpgSample(t, key, slices.DeleteFunc(args, func(s string) bool { return s == "" })...)
			}
			if output, err := sign(other); err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			before := state()
			if output, err := sign(ours); err == nil || !strings.Contains(output, "sign.sh: ") {
				t.Errorf("another key signs in its stead: %v\n%s", err, output)
			}
			if state() != before {
				t.Error("a refused file changed")
			}
			if output, err := sign(other); err != nil {
				t.Errorf("the same key again: %v\n%s", err, output)
			}
		})
	}
}

// TestX509SamplesKeepOthersSignatures: osslsigncode's refuses until it is told what to do, jarsigner's adds.
func TestX509SamplesKeepOthersSignatures(t *testing.T) {
	t.Parallel()
	need(t, "bash", "osslsigncode", "jarsigner", "keytool", "openssl")
	s := startService(t)
	const key = "demo/rsa-2048"
	vendorRoot := issue(t, "Vendor Root", nil, nil)
	vendor := issue(t, "Vendor", vendorRoot, nil)
	ours := func() verdict {
		return verdict{"ours", &Verifier{Roots: s.RootFile(), Chain: s.signer(t, "rsa-2048").X509.Chain}, ""}
	}
	theirs := verdict{"the vendor's", &Verifier{Roots: rootsFile(t, vendorRoot)}, ""}

	program := textFile(t, "app.exe", string(smallProgram()))
	vendor.foreignX509(t, Authenticode, program)
	s.signatures()
	output, err := s.sample(t, filepath.Dir(program), "osslsigncode", "--no-timestamp", key, "app.exe")
	if n := s.signatures(); err == nil || !strings.Contains(output, "others have signed app.exe: --nest") || n != 0 {
		t.Errorf("%d signatures were asked for, %v\n%s", n, err, output)
	}
	judge(t, Authenticode, program, []verdict{theirs})
	if output, err := s.sample(t, filepath.Dir(program), "osslsigncode", "--no-timestamp", "--nest", key, "app.exe"); err != nil {
		t.Errorf("--nest: %v\n%s", err, output)
	}
	judge(t, Authenticode, program, []verdict{theirs, ours()})
	for _, option := range []string{"--replace", "--no-timestamp"} { // the second has nobody else's to drop
		if output, err := s.sample(t, filepath.Dir(program), "osslsigncode", "--no-timestamp", option, key, "app.exe"); err != nil {
			t.Errorf("%s: %v\n%s", option, err, output)
		}
		judge(t, Authenticode, program, []verdict{ours()})
	}

	jar := jarFile(t, "one.txt")
	vendor.signJar(t, jar, "DEMO_RSA") // what jarsigner would call ours
	if output, err := s.sample(t, filepath.Dir(jar), "jarsigner", "--no-timestamp", key, "app.jar"); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	judge(t, Jar, jar, []verdict{theirs, ours()})
}

// TestInstallerSignatureCoversNames of streams, by the product and by the sample, which adds it to those that have it or not.
func TestInstallerSignatureCoversNames(t *testing.T) {
	need(t, "bash", "osslsigncode", "openssl")
	s := startService(t)
	const key = "demo/rsa-2048"
	signer := s.signer(t, "rsa-2048")
	ours := []verdict{{"ours", &Verifier{Roots: s.RootFile(), Chain: signer.X509.Chain}, ""}}
	content, err := os.ReadFile("../../tests/integration/testdata/tiny.msi")
	if err != nil {
		t.Fatal(err)
	}
	installer := string(content)
	coversNames := func(file string, want bool) {
		t.Helper()
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(bytes.ReplaceAll(content, []byte{0}, nil), []byte("MsiDigitalSignatureEx")); got != want {
			t.Errorf("names of streams are covered: %v, want %v", got, want)
		}
	}

	outputs, err := signer.Sign(deadline(t), Authenticode, textFile(t, "app.msi", installer), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	judge(t, Authenticode, outputs[0].Path, ours)
	coversNames(outputs[0].Path, true)

	file := textFile(t, "app.msi", installer)
	for _, options := range [][]string{{}, {"--nest"}} {
		if output, err := s.sample(t, filepath.Dir(file), "osslsigncode", append(options, "--no-timestamp", key, "app.msi")...); err != nil {
			t.Fatalf("%q: %v\n%s", options, err, output)
		}
		judge(t, Authenticode, file, ours)
		coversNames(file, true)
	}

	vendorRoot := issue(t, "Vendor Root", nil, nil)
	theirs := textFile(t, "app.msi", installer)
	issue(t, "Vendor", vendorRoot, nil).foreignX509(t, Authenticode, theirs)
	coversNames(theirs, false)
	judge(t, Authenticode, theirs, []verdict{{"the vendor's", &Verifier{Roots: rootsFile(t, vendorRoot)}, ""}})
	if output, err := s.sample(t, filepath.Dir(theirs), "osslsigncode", "--no-timestamp", "--nest", key, "app.msi"); err != nil {
		t.Errorf("--nest: %v\n%s", err, output)
	}
	coversNames(theirs, false)
}
