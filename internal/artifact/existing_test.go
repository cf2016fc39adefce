package artifact

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOthersOpenPGPSignaturesAreKept: a file that holds one signature is refused before gpg is called, unless its replacement is
// asked for; skip leaves the file alone.
func TestOthersOpenPGPSignaturesAreKept(t *testing.T) {
	ours, other := softKey(t, "ours"), softKey(t, "other")
	tests := []struct {
		kind  Kind
		make  func(t *testing.T) string
		tools []string
		holds string
	}{
		{Plain, func(t *testing.T) string { return textFile(t, "app.tar.gz", "content\n") }, nil, "app.tar.gz.asc would be overwritten"},
		{YumIndex, yumIndex, nil, "repomd.xml.asc would be overwritten"},
		{AptRelease, func(t *testing.T) string { return aptRelease(t, "Suite: stable\n") }, nil, "InRelease and Release.gpg would be overwritten"},
		{Deb, func(t *testing.T) string { return debPackage(t) }, []string{"debsig-verify", "dpkg-deb"}, "holds one signature of type origin"},
		{RPM, func(t *testing.T) string { return rpmPackage(t, "--define", "_rpmformat 4") }, []string{"rpmsign", "rpmkeys", "rpmbuild"}, "one signature in a package"},
	}
	for _, test := range tests {
		t.Run(string(test.kind), func(t *testing.T) {
			t.Parallel()
			need(t, test.tools...)
			if test.kind == RPM {
				if version, _, err := RPMVersion(deadline(t), os.Environ()); err != nil || rpmIsAtLeast(version, 6, 0) {
					test.holds = "only packages of rpm's format 6 hold several"
				}
			}
			signed, dir := signInto(t, &Signer{OpenPGP: other, Environ: os.Environ()}, test.kind, test.make(t))
			if test.kind == Deb {
				if err := os.RemoveAll(filepath.Join(dir, "demo")); err != nil { // what it was built from
					t.Fatal(err)
				}
			}
			jobs := []Job{{signed, test.kind}}
			before := tree(t, filepath.Dir(signed))
			refusing := hand(ours)
			refusing.Signer.OpenPGP = nil // whoever is asked to sign would say so
			for _, choice := range []Existing{"", KeepExisting, AddExisting} {
				for _, force := range []bool{false, true} {
					result := (&Batch{Hands: []*Hand{refusing}, Existing: choice, Force: force}).Run(deadline(t), jobs)[0]
					var others *OthersError
					want := "signed by the key " + other.Fingerprint
					if test.kind == RPM {
						want = other.Fingerprint[32:] + " already" // rpm 4.18 tells no more
					}
					if !errors.As(result.Err, &others) || !strings.Contains(result.Err.Error(), test.holds) ||
						!strings.Contains(result.Err.Error(), "--existing replace") || !strings.Contains(result.Err.Error(), want) {
						t.Errorf("%q, force %v: %v; want one with %q and %q", choice, force, result.Err, want, test.holds)
					}
				}
			}
			result := (&Batch{Hands: []*Hand{refusing}, Existing: SkipExisting}).Run(deadline(t), jobs)[0]
			if result.Status != Skipped || len(result.Notes) != 1 || !strings.Contains(result.Notes[0], "signed by the key ") {
				t.Errorf("skip: %+v", result)
			}
			if after := tree(t, filepath.Dir(signed)); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Error("a file changed that was refused or skipped")
			}
			wantStatus(t, (&Batch{Hands: []*Hand{hand(ours)}, Existing: ReplaceExisting}).Run(deadline(t), jobs), Signed)
			judge(t, test.kind, signed, []verdict{{"ours", &Verifier{PublicKey: ours.PublicKey}, ""}})
			if err := (&Verifier{PublicKey: other.PublicKey, Environ: os.Environ()}).Verify(deadline(t), test.kind, signed, dir); err == nil {
				t.Error("the other's signature is still there")
			}
			// What is ours is nobody else's: left alone, and with Force signed again, whatever the choice.
			wantStatus(t, (&Batch{Hands: []*Hand{hand(ours)}}).Run(deadline(t), jobs), Skipped)
			wantStatus(t, (&Batch{Hands: []*Hand{hand(ours)}, Force: true}).Run(deadline(t), jobs), Signed)
		})
	}
}

// TestOthersSignaturesAreKeptInWhateverForm they stand beside one of ours that is to be made anew: a second armored block, packets
// before the armor, and packets that only other software can read.
func TestOthersSignaturesAreKeptInWhateverForm(t *testing.T) {
	t.Parallel()
	ours, other := softKey(t, "ours"), softKey(t, "other")
	file := textFile(t, "app.tar.gz", "before\n")
	signature := func(key *OpenPGP, form string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "signature")
		shell(t, "", "gpg", "--homedir", key.Home, "--batch", form, "--output", path, "--detach-sign", file)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	const version3 = "\xc2\x04\x03\x05\x00\x00" // the head of a signature packet of PGP 2
	armored, binary := signature(ours, "--armor"), signature(ours, "--no-armor")
	write(t, file, "after\n")
	for name, test := range map[string]struct {
		content string
		want    string // whose it is; empty: ours alone, which is made anew
	}{
		"ours":                   {armored, ""},
		"ours with a comment":    {"by the release team\n\n" + armored + "\n", ""},
		"ours, binary":           {binary, ""},
		"armored behind ours":    {armored + signature(other, "--armor"), other.Fingerprint},
		"binary before ours":     {signature(other, "--no-armor") + "\n" + armored, other.Fingerprint},
		"binary behind ours":     {armored + signature(other, "--no-armor"), other.Fingerprint},
		"unreadable behind ours": {binary + version3, "an unknown key"},
		"unreadable before ours": {version3 + binary, "an unknown key"},
		"cut behind ours":        {armored + signature(other, "--armor")[:200], "an unknown key"},
	} {
		write(t, file+".asc", test.content)
		result := (&Batch{Hands: []*Hand{hand(ours)}}).Run(deadline(t), []Job{{file, Plain}})[0]
		if test.want == "" {
			if result.Status != Signed {
				t.Errorf("%s: %s, %v", name, result.Status, result.Err)
			}
			continue
		}
		data, err := os.ReadFile(file + ".asc")
		if err != nil {
			t.Fatal(err)
		}
		if _, refused := errors.AsType[*OthersError](result.Err); !refused || !strings.Contains(result.Err.Error(), test.want) || string(data) != test.content {
			t.Errorf("%s: %s, %v; changed: %v", name, result.Status, result.Err, string(data) != test.content)
		}
	}
}

// TestOneOfTwoSignatureFilesOfAnotherIsKept: the other of the two is not there, which is not the same as unsigned.
func TestOneOfTwoSignatureFilesOfAnotherIsKept(t *testing.T) {
	ours, other := softKey(t, "ours"), softKey(t, "other")
	for _, missing := range []string{"InRelease", "Release.gpg"} {
		signed, dir := signInto(t, &Signer{OpenPGP: other, Environ: os.Environ()}, AptRelease, aptRelease(t, "Suite: stable\n"))
		if err := os.Remove(filepath.Join(dir, missing)); err != nil {
			t.Fatal(err)
		}
		result := (&Batch{Hands: []*Hand{hand(ours)}}).Run(deadline(t), []Job{{signed, AptRelease}})[0]
		if result.Err == nil || !strings.Contains(result.Err.Error(), other.Fingerprint) {
			t.Errorf("without %s: %v", missing, result.Err)
		}
	}
}

// TestForceSignsWhatWasNeverSigned, too.
func TestForceSignsWhatWasNeverSigned(t *testing.T) {
	need(t, "debsig-verify", "dpkg-deb", "rpmsign", "rpmkeys", "rpmbuild")
	key := softKey(t, "ours")
	jobs := plan(t, "", debPackage(t), rpmPackage(t), textFile(t, "app.tar.gz", "content\n"))
	wantStatus(t, (&Batch{Hands: []*Hand{hand(key)}, Force: true}).Run(deadline(t), jobs), Signed, Signed, Signed)
}

// TestASignatureOfOursThatIsStaleIsMadeAnew without being asked to.
func TestASignatureOfOursThatIsStaleIsMadeAnew(t *testing.T) {
	key := softKey(t, "ours")
	file := textFile(t, "app.tar.gz", "content\n")
	batch := &Batch{Hands: []*Hand{hand(key)}}
	for _, content := range []string{"content\n", "other content\n"} {
		write(t, file, content)
		for _, choice := range ExistingChoices() {
			batch.Existing = choice
			want := Skipped
			if choice == KeepExisting {
				want = Signed
			}
			wantStatus(t, batch.Run(deadline(t), plan(t, "", file)), want)
		}
	}
}

// foreignX509 signs files of each kind as a vendor whom nobody here knows.
func (i *identity) foreignX509(t *testing.T, kind Kind, file string) {
	t.Helper()
	switch kind {
	case Jar:
		i.signJar(t, file, "SIGNKIT")
	case CMS:
		i.signCMS(t, file)
	default:
		key, _ := i.store(t)
		out := file + ".signed"
		shell(t, filepath.Dir(file), "osslsigncode", "sign", "-certs", key, "-key", key, "-in", file, "-out", out)
		if err := os.Rename(out, file); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOthersX509SignaturesAreKept: PE files and jars hold ours beside the vendor's; the rest is refused, and nothing is asked of the service.
func TestOthersX509SignaturesAreKept(t *testing.T) {
	t.Parallel()
	need(t, "osslsigncode", "jarsigner", "openssl")
	s := startService(t)
	ours := s.signer(t, "rsa-2048")
	vendorRoot := issue(t, "Vendor Root", nil, nil)
	vendor := issue(t, "Vendor", vendorRoot, nil)
	mine := &Hand{Signer: ours, Verifier: &Verifier{Chain: ours.X509.Chain, Roots: s.RootFile(), Environ: s.environ}}
	tests := []struct {
		kind  Kind
		make  func(t *testing.T) string
		holds string // why it holds one; empty: it holds several
	}{
		{Jar, func(t *testing.T) string { return jarFile(t, "one.txt", "two.txt") }, ""},
		{Authenticode, func(t *testing.T) string { return textFile(t, "app.exe", string(smallProgram())) }, ""},
		{Authenticode, func(t *testing.T) string { return textFile(t, "run.ps1", "Write-Host hello\r\n") }, "only PE files hold several"},
		{Authenticode, func(t *testing.T) string { return textFile(t, "app.msix", appPackage(t)) }, "only PE files hold several"},
		{CMS, func(t *testing.T) string { return textFile(t, "data.bin", "content\n") }, "data.bin.p7s would be overwritten"},
	}
	for _, test := range tests {
		file := test.make(t)
		t.Run(filepath.Base(file), func(t *testing.T) {
			if err := osslsigncodeKnows(deadline(t), os.Environ(), file); test.kind == Authenticode && err != nil {
				t.Skip(err)
			}
			vendor.foreignX509(t, test.kind, file)
			jobs := []Job{{file, test.kind}}
			s.signatures()
			skip := (&Batch{Hands: []*Hand{mine}, Existing: SkipExisting}).Run(deadline(t), jobs)[0]
			if skip.Status != Skipped || len(skip.Notes) != 1 || !strings.Contains(skip.Notes[0], "Vendor") {
				t.Errorf("skip: %+v", skip)
			}
			keep := (&Batch{Hands: []*Hand{mine}}).Run(deadline(t), jobs)[0]
			vendorVerdict := verdict{"the vendor's", &Verifier{Roots: rootsFile(t, vendorRoot)}, ""}
			if test.holds != "" {
				if keep.Err == nil || !strings.Contains(keep.Err.Error(), test.holds) || !strings.Contains(keep.Err.Error(), "Vendor") {
					t.Errorf("keep: %v; want %q", keep.Err, test.holds)
				}
				if n := s.signatures(); n != 0 {
					t.Errorf("%d signatures were asked for", n)
				}
				judge(t, test.kind, file, []verdict{vendorVerdict})
			} else {
				if n := s.signatures(); keep.Status != Signed || n != 1 {
					t.Fatalf("keep: %v, %d signatures were asked for", keep.Err, n)
				}
				if len(keep.Notes) != 1 || !strings.Contains(keep.Notes[0], "Vendor") {
					t.Errorf("notes %q", keep.Notes)
				}
				judge(t, test.kind, file, []verdict{
					vendorVerdict, {"ours", &Verifier{Roots: s.RootFile(), Chain: ours.X509.Chain}, ""},
					{"by whom", &Verifier{}, "Vendor"},
				})
				wantStatus(t, (&Batch{Hands: []*Hand{mine}}).Run(deadline(t), jobs), Skipped)
			}
			replace := &Batch{Hands: []*Hand{mine}, Existing: ReplaceExisting, Force: true}
			wantStatus(t, replace.Run(deadline(t), jobs), Signed)
			judge(t, test.kind, file, []verdict{{"ours alone", &Verifier{Roots: s.RootFile(), Chain: ours.X509.Chain}, ""}})
			vendorVerdict.verifier.Environ = os.Environ()
			if err := vendorVerdict.verifier.Verify(deadline(t), test.kind, file, filepath.Dir(file)); err == nil {
				t.Error("the vendor's signature is still there")
			}
			wantStatus(t, (&Batch{Hands: []*Hand{mine}, Force: true}).Run(deadline(t), jobs), Signed)
		})
	}
}

// TestJarSignaturesAreTakenAwayAlone: entries, comment and compression stay as they are.
func TestJarSignaturesAreTakenAwayAlone(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, header := range []zip.FileHeader{
		{Name: "META-INF/MANIFEST.MF", Method: zip.Deflate}, {Name: "META-INF/a.sf", Method: zip.Deflate}, {Name: "META-INF/A.EC", Method: zip.Store},
		{Name: "META-INF/SIG-x", Method: zip.Store}, {Name: "META-INF/services/x.sf", Method: zip.Store}, {Name: "a.RSA", Method: zip.Store},
	} {
		entry, err := w.CreateHeader(&header)
		if err == nil {
			_, err = fmt.Fprintln(entry, header.Name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.SetComment("remark"), w.Close()); err != nil {
		t.Fatal(err)
	}
	file := textFile(t, "app.jar", b.String())
	if err := removeJarSignatures(file); err != nil {
		t.Fatal(err)
	}
	archive, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	var got []string
	for _, entry := range archive.File {
		got = append(got, fmt.Sprintf("%s %d", entry.Name, entry.Method))
	}
	if want := []string{"META-INF/MANIFEST.MF 8", "META-INF/services/x.sf 0", "a.RSA 0"}; !slices.Equal(got, want) || archive.Comment != "remark" {
		t.Errorf("entries %q, comment %q; want %q", got, archive.Comment, want)
	}
}

// TestPackagesOfRPM6HoldSeveral, by what rpm 4.18 and 6.1 say of themselves and of packages.
func TestPackagesOfRPM6HoldSeveral(t *testing.T) {
	for _, test := range []struct{ version, format, want string }{
		{"4.18.0", "", "rpm 4.18.0 knows one signature in a package"},
		{"4.20.1", "", "rpm 4.20.1 knows one"},
		{"6.1.0", "4", "only packages of rpm's format 6 hold several"},
		{"6.1.0", "6", ""},
	} {
		stub(t, "rpm", `case $1 in
  --version) echo "RPM version `+test.version+`" ;;
  *) echo 'warning: Could not canonicalize hostname: vm' >&2; echo "format `+test.format+`" ;;
esac
`)
		why, err := (&Verifier{Environ: os.Environ()}).single(deadline(t), RPM, "demo.rpm")
		if err != nil || test.want == "" && why != "" || !strings.Contains(why, test.want) {
			t.Errorf("rpm %s, format %s: %q, %v; want %q", test.version, test.format, why, err, test.want)
		}
	}
}

// TestRPMIsVerifiedBesideOthersSignatures: rpmkeys fails where a key of another is not there. The reports are those of rpm 6.1.
func TestRPMIsVerifiedBesideOthersSignatures(t *testing.T) {
	need(t, "gpg")
	key := softKey(t, "ours")
	const (
		ours    = "    Header OpenPGP V4 RSA/SHA512 signature, key fingerprint: becdba65331161c8bbb14bfb57038f3763f216a4: OK\n"
		other   = "    Header OpenPGP V4 RSA/SHA512 signature, key ID 22b30f2447674a2e: NOKEY\n"
		digests = "    Header SHA256 digest: OK\n    Payload SHA256 digest: OK\n"
	)
	// A lead and an empty header of signatures: what they say is in the report.
	file := filepath.Join(t.TempDir(), "demo.rpm")
	write(t, file, strings.Repeat("x", 96)+"\x8e\xad\xe8\x01"+strings.Repeat("\x00", 12))
	for _, test := range []struct{ name, version, report, status, want string }{
		{"ours alone", "6.1.0", "demo.rpm:\n" + ours + digests, "0", ""},
		{"both", "6.1.0", "demo.rpm:\n" + ours + other + digests, "1", ""},
		{"both, and a warning", "6.1.0", "warning: Could not canonicalize hostname: vm\ndemo.rpm:\n" + ours + other + digests, "1", ""},
		{"the other alone", "6.1.0", "demo.rpm:\n" + other + digests, "1", "22b30f2447674a2e: NOKEY"},
		{"a bad one", "6.1.0", "demo.rpm:\n" + ours + strings.Replace(other, "NOKEY", "BAD", 1) + digests, "1", "22b30f2447674a2e: BAD"},
		{"a bad digest", "6.1.0", "demo.rpm:\n" + ours + other + strings.Replace(digests, "OK\n    Payload", "BAD\n    Payload", 1), "1", "NOKEY"},
		{"an error", "6.1.0", "demo.rpm:\n" + ours + other + digests + "error: demo.rpm: not an rpm package\n", "1", "NOKEY"},
		{"rpm of one signature", "4.20.1", "demo.rpm:\n" + ours + other + digests, "1", "NOKEY"},
	} {
		stub(t, "rpm", `echo "RPM version `+test.version+"\"\n")
		stub(t, "rpmkeys", `case $* in *--import*) exit ;; esac
echo `+base64.StdEncoding.EncodeToString([]byte(test.report))+` | base64 -d
exit `+test.status+"\n")
		err := (&Verifier{PublicKey: key.PublicKey, Environ: os.Environ()}).Verify(deadline(t), RPM, file, "")
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v; want %q", test.name, err, test.want)
		}
	}
}

// TestRPM6AddsToOthersSignatures, with an rpm that does.
func TestRPM6AddsToOthersSignatures(t *testing.T) {
	need(t, "rpm", "rpmsign", "rpmkeys", "rpmbuild")
	if version, _, err := RPMVersion(deadline(t), os.Environ()); err != nil || !rpmIsAtLeast(version, 6, 0) {
		t.Skipf("rpm %s knows one signature in a package", version)
	}
	ours, other := softKey(t, "ours"), softKey(t, "other")
	file, _ := signInto(t, &Signer{OpenPGP: other, Environ: os.Environ()}, RPM, rpmPackage(t, "--define", "_rpmformat 6"))
	wantStatus(t, (&Batch{Hands: []*Hand{hand(ours)}}).Run(deadline(t), []Job{{file, RPM}}), Signed)
	judge(t, RPM, file, []verdict{
		{"ours", &Verifier{PublicKey: ours.PublicKey}, ""}, {"the other's", &Verifier{PublicKey: other.PublicKey}, ""},
	})
	wantStatus(t, (&Batch{Hands: []*Hand{hand(ours)}}).Run(deadline(t), []Job{{file, RPM}}), Skipped)
	wantStatus(t, (&Batch{Hands: []*Hand{hand(ours)}, Existing: ReplaceExisting, Force: true}).Run(deadline(t), []Job{{file, RPM}}), Signed)
	judge(t, RPM, file, []verdict{{"ours", &Verifier{PublicKey: ours.PublicKey}, ""}, {"the other's", &Verifier{PublicKey: other.PublicKey}, "NOKEY"}})
}

// cabinet is one with a file of eight octets, not compressed.
func cabinet() string {
	return "MSCF\x00\x00\x00\x00\x50\x00\x00\x00\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x00\x00\x00\x03\x01\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00" +
		"\x40\x00\x00\x00\x01\x00\x00\x00" + // the folder: one block at 64
		"\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x21\x58\x00\x00\x20\x00abc\x00" + // the file
		"\x00\x00\x00\x00\x08\x00\x08\x00content\n"
}

// TestAuthenticodeSignersAreTold by every osslsigncode, which has words of its own for each format without a signature.
func TestAuthenticodeSignersAreTold(t *testing.T) {
	need(t, "osslsigncode")
	installer, err := os.ReadFile("../../tests/integration/testdata/tiny.msi")
	if err != nil {
		t.Fatal(err)
	}
	vendor := issue(t, "Vendor", issue(t, "Vendor Root", nil, nil), nil)
	for name, content := range map[string]string{
		"app.exe": string(smallProgram()), "app.msi": string(installer), "app.cab": cabinet(),
		"app.ps1": "Write-Host hello\r\n", "app.psc1": "<x/>\r\n", "app.mof": "instance of x\r\n", "app.js": "WScript.Echo(1);\r\n", "app.msix": appPackage(t),
	} {
		t.Run(name, func(t *testing.T) {
			file := textFile(t, name, content)
			verifier := &Verifier{Environ: os.Environ()}
			if err := osslsigncodeKnows(deadline(t), os.Environ(), file); err != nil {
				// An old one: nobody's signature is read, and so none is lost.
				if found, told := verifier.existing(deadline(t), Authenticode, file, ""); told == nil || told.Error() != err.Error() {
					t.Errorf("%v, %v; want %v", found, told, err)
				}
				return
			}
			if found, err := verifier.existing(deadline(t), Authenticode, file, ""); err != nil || len(found) != 0 {
				t.Errorf("unsigned: %v, %v", found, err)
			}
			vendor.foreignX509(t, Authenticode, file)
			found, err := verifier.existing(deadline(t), Authenticode, file, "")
			if err != nil || len(found) != 1 || !found[0].certificate.Equal(vendor.certificate) {
				t.Errorf("signed: %v, %v", found, err)
			}
		})
	}
}
