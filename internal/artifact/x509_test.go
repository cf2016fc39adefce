package artifact

import (
	"archive/zip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"signkit/internal/revocation"
)

// identity is a key with its certificate, and who issued it.
type identity struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	issuer      *identity
}

// issue makes a certificate; without an issuer it is a root. change may be nil.
func issue(t *testing.T, name string, issuer *identity, change func(*x509.Certificate)) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	parent, signer := template, key
	if issuer == nil {
		template.IsCA, template.BasicConstraintsValid, template.ExtKeyUsage = true, true, nil
		template.KeyUsage = x509.KeyUsageCertSign
	} else {
		parent, signer = issuer.certificate, issuer.key
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{key, certificate, issuer}
}

// store writes the identity for openssl, and for jarsigner.
func (i *identity) store(t *testing.T) (pemFile, p12File string) {
	t.Helper()
	var chain []*x509.Certificate
	for up := i.issuer; up != nil; up = up.issuer {
		chain = append(chain, up.certificate)
	}
	data, err := pkcs12.Modern.Encode(i.key, i.certificate, chain, storePassword)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(encodePEM([]*x509.Certificate{i.certificate})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return textFile(t, "key.pem", text), textFile(t, "key.p12", string(data))
}

func (i *identity) signJar(t *testing.T, file, name string) {
	t.Helper()
	_, store := i.store(t)
	shell(t, filepath.Dir(file), "jarsigner", "-keystore", store, "-storetype", "PKCS12", "-storepass", storePassword, "-sigfile", name, file, aliasIn(t, store))
}

// aliasIn: go-pkcs12 gives a key no name, and Java then counts.
func aliasIn(*testing.T, string) string { return "1" }

func (i *identity) signCMS(t *testing.T, file string) {
	t.Helper()
	key, _ := i.store(t)
	shell(t, filepath.Dir(file), "openssl", "cms", "-sign", "-binary", "-in", file, "-out", file+".p7s", "-outform", "DER", "-signer", key)
}

func rootsFile(t *testing.T, roots ...*identity) string {
	t.Helper()
	var list []*x509.Certificate
	for _, root := range roots {
		list = append(list, root.certificate)
	}
	return textFile(t, "roots.pem", string(encodePEM(list)))
}

func jarFile(t *testing.T, entries ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "app.jar")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(out)
	for _, name := range entries {
		content, err := w.Create(name)
		if err == nil {
			_, err = content.Write([]byte("content of " + name + "\n"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

// verdict is what a test wants of Verify.
type verdict struct {
	name     string
	verifier *Verifier
	want     string // in the error; empty: verified
}

func judge(t *testing.T, kind Kind, file string, verdicts []verdict) {
	t.Helper()
	for _, v := range verdicts {
		v.verifier.Environ = os.Environ()
		err := v.verifier.Verify(deadline(t), kind, file, filepath.Dir(file))
		if v.want == "" && err != nil || v.want != "" && (err == nil || !strings.Contains(err.Error(), v.want)) {
			t.Errorf("%s: %v; want %q", v.name, err, v.want)
			if tool, ok := errors.AsType[*ToolError](err); ok {
				t.Log(tool.Output)
			}
		}
	}
}

func TestX509SignerIsTheOneThatWasNamed(t *testing.T) {
	need(t, "jarsigner", "openssl")
	root, otherRoot := issue(t, "Root", nil, nil), issue(t, "Other Root", nil, nil)
	ours, other := issue(t, "Ours", root, nil), issue(t, "Other", otherRoot, nil)
	server := issue(t, "www.example.com", root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	expired := issue(t, "Expired", root, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
	// The same issuer's name, subject and serial number, from another root: another certificate.
	twinRoot := issue(t, "Root", nil, nil)
	twin := issue(t, "Ours", twinRoot, func(c *x509.Certificate) { c.SerialNumber = ours.certificate.SerialNumber })

	roots, both := rootsFile(t, root), rootsFile(t, otherRoot, root)
	named := func(i *identity) *Verifier { return &Verifier{Chain: []*x509.Certificate{i.certificate}} }
	// What the machine trusts does not count: here it trusts everybody.
	t.Setenv("SSL_CERT_FILE", rootsFile(t, root, otherRoot, twinRoot))
	tests := []struct {
		name     string
		signer   *identity
		verdicts []verdict
	}{
		{"ours", ours, []verdict{
			{"root", &Verifier{Roots: roots}, ""},
			{"the second of two roots", &Verifier{Roots: both}, ""},
			{"certificate", named(ours), ""},
			{"certificate and root", &Verifier{Roots: roots, Chain: []*x509.Certificate{ours.certificate}}, ""},
			{"nobody is named", &Verifier{}, `signed by "CN=Ours", not compared with anything`},
			{"another certificate", named(other), "not the certificate that was named"},
			{"another root", &Verifier{Roots: rootsFile(t, otherRoot)}, "unknown authority"},
			{"certificate and another root", &Verifier{Roots: rootsFile(t, otherRoot), Chain: []*x509.Certificate{ours.certificate}}, "unknown authority"},
			{"a twin", named(twin), "not the certificate that was named"},
		}},
		{"twin", twin, []verdict{
			{"certificate", named(ours), "not the certificate that was named"},
			{"root", &Verifier{Roots: roots}, "unknown authority"},
		}},
		{"web server", server, []verdict{{"root", &Verifier{Roots: roots}, "incompatible key usage"}}},
		{"expired", expired, []verdict{
			{"root", &Verifier{Roots: roots}, "expired"},
			{"certificate", named(expired), "expired"},
			{"nobody is named", &Verifier{}, "not compared with anything"},
		}},
	}
	for _, test := range tests {
		t.Run(test.name+"/jar", func(t *testing.T) {
			file := jarFile(t, "a.txt", "b.txt")
			test.signer.signJar(t, file, "OURS")
			verdicts := test.verdicts
			if test.name == "expired" { // jarsigner says in one bit what openssl says in words
				verdicts[0].want, verdicts[1].want = "not valid", "not valid"
			}
			judge(t, Jar, file, verdicts)
			output, err := sample(t, "jarsigner/verify.sh", "--no-timestamp", "--root", roots, file)
			if (err == nil) != (test.signer == ours) {
				t.Errorf("samples/jarsigner/verify.sh: %v\n%s", err, output)
			}
		})
	}
	for _, test := range tests {
		t.Run(test.name+"/cms", func(t *testing.T) {
			file := textFile(t, "app.bin", "content\n")
			test.signer.signCMS(t, file)
			if test.name == "expired" {
				test.verdicts[0].want, test.verdicts[1].want = "expired", "expired"
			}
			judge(t, CMS, file, test.verdicts)
		})
	}
}

// TestJarIsOursAsAWhole: jarsigner itself is content with entries that anybody has signed.
func TestJarIsOursAsAWhole(t *testing.T) {
	t.Parallel()
	need(t, "jarsigner", "jar")
	root, otherRoot := issue(t, "Root", nil, nil), issue(t, "Other Root", nil, nil)
	ours, other := issue(t, "Ours", root, nil), issue(t, "Other", otherRoot, nil)
	roots := rootsFile(t, root)
	add := func(t *testing.T, file string) {
		t.Helper()
		write(t, filepath.Join(filepath.Dir(file), "late.txt"), "late\n")
		shell(t, filepath.Dir(file), "jar", "uf", file, "late.txt")
	}
	judgeBoth := func(t *testing.T, file, want string) {
		t.Helper()
		judge(t, Jar, file, []verdict{
			{"root", &Verifier{Roots: roots}, want},
			{"certificate", &Verifier{Chain: []*x509.Certificate{ours.certificate}}, want},
		})
		if output, err := sample(t, "jarsigner/verify.sh", "--no-timestamp", "--root", roots, file); want != "" && err == nil {
			t.Errorf("samples/jarsigner/verify.sh is content:\n%s", output)
		}
	}
	t.Run("unsigned", func(t *testing.T) { judgeBoth(t, jarFile(t, "a.txt"), "not signed") })
	t.Run("an entry that nobody signed", func(t *testing.T) {
		file := jarFile(t, "a.txt")
		ours.signJar(t, file, "OURS")
		add(t, file)
		judgeBoth(t, file, "entries that nobody signed")
	})
	t.Run("an entry that somebody else signed", func(t *testing.T) {
		file := jarFile(t, "a.txt")
		ours.signJar(t, file, "OURS")
		add(t, file)
		other.signJar(t, file, "OTHER")
		judgeBoth(t, file, "entries that the named signer did not sign")
	})
	t.Run("signed by both", func(t *testing.T) {
		file := jarFile(t, "a.txt")
		other.signJar(t, file, "OTHER")
		ours.signJar(t, file, "OURS")
		judgeBoth(t, file, "")
	})
	t.Run("signed by another afterwards", func(t *testing.T) {
		file := jarFile(t, "a.txt")
		ours.signJar(t, file, "OURS")
		other.signJar(t, file, "OTHER")
		judgeBoth(t, file, "")
	})
	t.Run("names below META-INF that differ in case", func(t *testing.T) {
		judgeBoth(t, jarFile(t, "META-INF/notes.txt", "META-INF/Notes.txt"), `the entry "META-INF/Notes.txt" twice`)
	})
	t.Run("an entry twice", func(t *testing.T) {
		file := jarFile(t, "a.txt", "a.txt")
		judgeBoth(t, file, `the entry "a.txt" twice`)
	})
}

// TestJarSignatureCoversTheManifest: our own reading, which does not depend on what jarsigner makes of names.
func TestJarSignatureCoversTheManifest(t *testing.T) {
	need(t, "jarsigner")
	root := issue(t, "Root", nil, nil)
	ours, other := issue(t, "Ours", root, nil), issue(t, "Other", root, nil)
	dsa := &identity{certificate: new(x509.Certificate)} // as Bouncy Castle's jars are signed; no JDK is asked for such a key here
	*dsa.certificate = *ours.certificate
	dsa.certificate.PublicKeyAlgorithm = x509.DSA
	file := jarFile(t, "a.txt")
	ours.signJar(t, file, "OURS")
	for name, test := range map[string]struct {
		change  func(*jarSignatures)
		signers []*identity
		want    string
	}{
		"as jarsigner leaves it":      {nil, []*identity{other, ours}, ""},
		"another signer":              {nil, []*identity{other}, "has signed nothing"},
		"nobody":                      {nil, nil, "has signed nothing"},
		"another manifest":            {func(j *jarSignatures) { j.manifest = append(j.manifest, "Name: b.txt\r\n\r\n"...) }, []*identity{ours}, "manifest as it is now"},
		"another signature file":      {func(j *jarSignatures) { j.files["META-INF/OURS"][0] ^= 1 }, []*identity{ours}, "does not verify"},
		"no signature file":           {func(j *jarSignatures) { delete(j.files, "META-INF/OURS") }, []*identity{ours}, "does not verify"},
		"a block that names two":      {func(j *jarSignatures) { b := j.blocks["META-INF/OURS"]; b.Signers = append(b.Signers, b.Signers[0]) }, []*identity{ours}, "has signed nothing"},
		"a DSA key":                   {func(j *jarSignatures) { j.blocks["META-INF/OURS"].Certificates = nil }, []*identity{dsa}, "with a DSA key"},
		"a block without certificate": {func(j *jarSignatures) { j.blocks["META-INF/OURS"].Certificates = nil }, []*identity{ours}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			signatures, err := readJarSignatures(file)
			if err != nil {
				t.Fatal(err)
			}
			if test.change != nil {
				test.change(signatures)
			}
			var signers []*x509.Certificate
			for _, signer := range test.signers {
				signers = append(signers, signer.certificate)
			}
			err = signatures.signedBy(signers)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("signedBy = %v; want %q", err, test.want)
			}
		})
	}
}

func TestManifestDigests(t *testing.T) {
	manifest := []byte("Manifest-Version: 1.0\r\n\r\n")
	sum256, sum512 := sha256.Sum256(manifest), sha512.Sum512(manifest)
	right, long := base64.StdEncoding.EncodeToString(sum256[:]), base64.StdEncoding.EncodeToString(sum512[:])
	for text, want := range map[string]bool{
		"SHA-256-Digest-Manifest: " + right + "\r\n\r\n":                                           true,
		"X: y\nsha-256-digest-manifest: " + right[:20] + "\n " + right[20:] + "\n":                 true,
		"SHA-256-Digest-Manifest: " + right + "\r\nSHA-512-Digest-Manifest: " + long + "\r\n\r\n":  true,
		"SHA-256-Digest-Manifest: " + right + "\r\nSHA-512-Digest-Manifest: " + right + "\r\n\r\n": false,
		"SHA-256-Digest-Manifest-Main-Attributes: " + right + "\r\n\r\n":                           false,
		"Signature-Version: 1.0\r\n\r\nName: a\r\nSHA-256-Digest-Manifest: " + right + "\r\n\r\n":  false,
		"": false,
	} {
		if got := hasDigestOf([]byte(text), manifest); got != want {
			t.Errorf("hasDigestOf(%q) = %v", text, got)
		}
	}
}

// TestOpenPGPSignerIsNamedWhereNobodyWas: the file is not verified then.
func TestOpenPGPSignerIsNamedWhereNobodyWas(t *testing.T) {
	need(t, "rpmsign", "rpmkeys", "rpmbuild", "dpkg-deb")
	key := softKey(t, "ours")
	for kind, file := range map[Kind]string{
		Plain: textFile(t, "app.tar.gz", "content\n"), AptRelease: aptRelease(t, "Suite: stable\n"),
		Deb: debPackage(t), RPM: rpmPackage(t),
	} {
		t.Run(string(kind), func(t *testing.T) {
			signed, dir := signInto(t, &Signer{OpenPGP: key, Environ: os.Environ()}, kind, file)
			verifier := &Verifier{Environ: os.Environ()}
			err := verifier.Verify(deadline(t), kind, signed, dir)
			other, ok := errors.AsType[*NotComparedError](err)
			if !ok || !strings.HasSuffix(key.Fingerprint, strings.TrimPrefix(other.Signers, "the key ")) {
				t.Errorf("Verify = %v, want the key %s", err, key.Fingerprint)
			}
			if err := verifier.Verify(deadline(t), kind, file, filepath.Dir(file)); !errors.Is(err, ErrUnsigned) {
				t.Errorf("unsigned: %v", err)
			}
		})
	}
}

// TestAuthenticodeTakesTheNamedCertificate without its root, if whoever issued it is there, and never a root of the machine's.
func TestAuthenticodeTakesTheNamedCertificate(t *testing.T) {
	need(t, "osslsigncode", "openssl")
	root, twinRoot := issue(t, "Root", nil, nil), issue(t, "Root", nil, nil)
	authority := func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	}
	intermediate := issue(t, "Intermediate", root, authority)
	ours, other := issue(t, "Ours", intermediate, nil), issue(t, "Other", root, nil)
	machine := systemRoots
	t.Cleanup(func() { systemRoots = machine })
	systemRoots = []string{rootsFile(t, root, intermediate)}

	signed := func(brings ...*identity) string {
		file := textFile(t, "app.exe", string(smallProgram()))
		key, _ := ours.store(t)
		shell(t, filepath.Dir(file), "osslsigncode", "sign", "-certs", rootsFile(t, brings...), "-key", key, "-in", file, "-out", "signed.exe")
		return filepath.Join(filepath.Dir(file), "signed.exe")
	}
	named := func(chain ...*identity) *Verifier {
		v := &Verifier{}
		for _, i := range chain {
			v.Chain = append(v.Chain, i.certificate)
		}
		return v
	}
	anybody := func(v *Verifier) *Verifier { v.SystemRoots = true; return v }
	judge(t, Authenticode, signed(ours, intermediate), []verdict{
		{"certificate", named(ours), ""},
		{"with its chain", named(ours, intermediate, root), ""},
		{"another certificate", named(other), "--root"},
		{"another certificate with its chain", named(other, root), "osslsigncode"},
	})
	judge(t, Authenticode, signed(ours, twinRoot), []verdict{
		{"nobody brings who issued it", named(ours), "--root"},
		{"a root of that name", named(ours, twinRoot), "--root"},
		{"who issued it", named(ours, intermediate), ""},
		{"the machine's roots", anybody(named(ours)), ""},
	})
}

// TestRevokedSignersAreRefused in each format of X.509, where revocation is checked.
func TestRevokedSignersAreRefused(t *testing.T) {
	t.Parallel()
	need(t, "osslsigncode", "openssl", "jarsigner")
	root := issue(t, "Root", nil, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign })
	ours, revoked := issue(t, "Ours", root, nil), issue(t, "Revoked", root, nil)
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: revoked.certificate.SerialNumber, RevocationTime: time.Now()}},
	}, root.certificate, root.key)
	if err != nil {
		t.Fatal(err)
	}
	lists := textFile(t, "root.crl", string(der))
	checker := func(files ...string) *revocation.Checker {
		c, err := revocation.New(files)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, kind := range map[string]Kind{"app.exe": Authenticode, "app.jar": Jar, "data.bin": CMS} {
		t.Run(string(kind), func(t *testing.T) {
			for _, signer := range []*identity{ours, revoked} {
				file := textFile(t, name, string(smallProgram()))
				if kind == Jar {
					file = jarFile(t, "one.txt")
				}
				signer.foreignX509(t, kind, file)
				want := ""
				if signer == revoked {
					want = "revoked on"
				}
				judge(t, kind, file, []verdict{
					{"not checked", &Verifier{Roots: rootsFile(t, root)}, ""},
					{"checked", &Verifier{Roots: rootsFile(t, root), Revocation: checker(lists)}, want},
					{"the certificate with its issuer", &Verifier{Chain: []*x509.Certificate{signer.certificate, root.certificate}, Revocation: checker(lists)}, want},
					{"no list", &Verifier{Roots: rootsFile(t, root), Revocation: checker()}, "--crl FILE"},
				})
			}
		})
	}
}
