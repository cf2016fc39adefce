package artifact

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signkit/internal/pgpkey"
)

type member struct{ name, content string }

// ar writes an archive as dpkg-deb does.
func ar(members ...member) []byte {
	var b bytes.Buffer
	b.WriteString(arMagic)
	for _, m := range members {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", m.name, 0, 0, 0, 0o100644, len(m.content), m.content)
		if len(m.content)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// tarOf is a tar archive with one empty file.
func tarOf(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "./empty", Mode: 0o644}), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDebStructureIsReadStrictly: what dpkg and a verifier could read differently is no package.
func TestDebStructureIsReadStrictly(t *testing.T) {
	version, control, data := member{"debian-binary", "2.0\n"}, member{"control.tar.xz", "\xfd7zXZ\x00."}, member{"data.tar.zst", "\x28\xb5\x2f\xfd.."}
	tests := []struct {
		name     string
		archive  []byte
		want     string // in the error; empty: taken
		inSample bool   // the list of names shows it
	}{
		{"as dpkg-deb writes it", ar(version, control, data), "", false},
		{"as binutils writes it", ar(member{"debian-binary/", "2.0\n"}, member{"control.tar.gz/", "\x1f\x8b"}, member{"data.tar/", tarOf(t)}), "", false},
		{"signed twice", ar(version, control, data, member{"_gpgorigin", "s"}, member{"_gpgmaint", "s"}), "", false},
		{"order", ar(version, data, control), `the member "data.tar.zst" where`, true},
		{"two data members", ar(version, control, data, member{"data.tar.gz", "x"}), `the member "data.tar.gz" where`, true},
		{"a member before the control one", ar(version, member{"_gpgorigin", "s"}, control, data), `"_gpgorigin" where`, true},
		{"a signature twice", ar(version, control, data, member{"_gpgorigin", "s"}, member{"_gpgorigin/", "s"}), `"_gpgorigin" twice`, true},
		{"something else", ar(version, control, data, member{"readme", "x"}), `"readme" where`, true},
		{"an unknown compression", ar(version, control, member{"data.tar.lz4", "x"}), `"data.tar.lz4" where`, true},
		{"a name with a control character", ar(version, control, data, member{"\x1b[2J", "x"}), `"\x1b[2J" where`, false},
		{"no data member", ar(version, control), "has 2 members", true},
		{"octets behind", append(ar(version, control, data), "extra"...), "damaged", false},
		{"a member longer than the file", ar(version, control, data)[:len(ar(version, control, data))-2], "damaged", false},
		{"no archive", []byte("hello"), "not an ar archive", false},
	}
	need(t, "ar", "debsig-verify")
	key := softKey(t, "ours")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			members, err := debMembers(bytes.NewReader(test.archive), int64(len(test.archive)))
			if test.want == "" {
				if err != nil || len(members) < 3 {
					t.Errorf("%d members, %v", len(members), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v; want an error with %q", err, test.want)
			}
			// Neither signing nor verifying gets as far as a tool.
			file := textFile(t, "demo.deb", string(test.archive))
			signer := &Signer{OpenPGP: &OpenPGP{}}
			if err := signer.signDeb(deadline(t), file); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("signing: %v", err)
			}
			if err := (&Verifier{PublicKey: "unread"}).Verify(deadline(t), Deb, file, ""); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("verifying: %v", err)
			}
			if test.inSample {
				if output, err := sample(t, "deb/verify.sh", key.PublicKey, file); err == nil || !strings.Contains(output, "not the structure") {
					t.Errorf("samples/deb/verify.sh: %v\n%s", err, output)
				}
			}
		})
	}
}

// TestDebSignatureCoversEveryCompression, judged by debsig-verify: debsigs of Debian 11 and 12 leaves a zstd member out.
func TestDebSignatureCoversEveryCompression(t *testing.T) {
	need(t, "debsig-verify", "dpkg-deb")
	key := softKey(t, "ours")
	for _, compression := range []string{"gzip", "xz", "zstd", "none"} {
		t.Run(compression, func(t *testing.T) {
			file := debPackage(t, "-Z"+compression)
			signed, dir := signInto(t, &Signer{OpenPGP: key, Environ: os.Environ()}, Deb, file)
			verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ()}
			if err := verifier.Verify(deadline(t), Deb, signed, dir); err != nil {
				t.Fatal(err)
			}
			if output, err := sample(t, "deb/verify.sh", key.PublicKey, signed); err != nil {
				t.Errorf("samples/deb/verify.sh: %v\n%s", err, output)
			}
			shell(t, dir, "dpkg-deb", "--contents", signed) // dpkg still reads it
			tamper(t, signed)
			if err := verifier.Verify(deadline(t), Deb, signed, dir); err == nil {
				t.Error("a tampered package verifies")
			}
		})
	}
}

// TestDebSignatureOfAnotherIsKept unless its replacement is asked for; other types of signatures stay in any case.
func TestDebSignatureOfAnotherIsKept(t *testing.T) {
	need(t, "debsig-verify", "dpkg-deb")
	ours, other := softKey(t, "ours"), softKey(t, "other")
	signed, _ := signInto(t, &Signer{OpenPGP: other, Environ: os.Environ()}, Deb, debPackage(t))
	before, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	maint := string(ar(member{"_gpgmaint", "kept"}))[len(arMagic):]
	write(t, signed, string(before)+maint)
	signer := &Signer{OpenPGP: ours, Environ: os.Environ()}
	_, err = signer.Sign(deadline(t), Deb, signed, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "signed by the key "+other.Fingerprint+" already; --existing replace") {
		t.Errorf("Sign = %v", err)
	}
	signer.Replace = true
	again, dir := signInto(t, signer, Deb, signed)
	if err := (&Verifier{PublicKey: ours.PublicKey, Environ: os.Environ()}).Verify(deadline(t), Deb, again, dir); err != nil {
		t.Error(err)
	}
	after, err := os.ReadFile(again)
	if err != nil || bytes.Count(after, []byte(originMember)) != 1 || !bytes.Contains(after, []byte(maint)) {
		t.Errorf("the package has %d signatures of origin, and %v", bytes.Count(after, []byte(originMember)), err)
	}
}

// TestKeysThatEndedVerifyNothing: gpgv and debsig-verify take them.
func TestKeysThatEndedVerifyNothing(t *testing.T) {
	need(t, "debsig-verify", "dpkg-deb", "rpmsign", "rpmbuild", "rpmkeys")
	key := softKey(t, "ours")
	kinds := map[Kind]string{
		Plain: textFile(t, "app.tar.gz", "content\n"), AptRelease: aptRelease(t, "Suite: stable\n"),
		Deb: debPackage(t), RPM: rpmPackage(t),
	}
	gpg := func(args ...string) {
		t.Helper()
		t.Setenv("GNUPGHOME", key.Home)
		shell(t, key.Home, "gpg", append([]string{"--batch", "--yes", "--passphrase", "", "--pinentry-mode", "loopback"}, args...)...)
	}
	type signedFile struct{ file, dir string }
	signed := map[Kind]signedFile{}
	for kind, file := range kinds {
		file, dir := signInto(t, &Signer{OpenPGP: key, Environ: os.Environ()}, kind, file)
		signed[kind] = signedFile{file, dir}
	}
	judge := func(allowExpired bool, public, want string) {
		t.Helper()
		verifier := &Verifier{PublicKey: public, AllowExpired: allowExpired, Environ: os.Environ()}
		for kind, s := range signed {
			err := verifier.Verify(deadline(t), kind, s.file, s.dir)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), key.Fingerprint+" "+want)) {
				t.Errorf("%s: %v, want %q", kind, err, want)
			}
		}
	}
	// The samples judge the same files with the same keys.
	samples := func(public, want string) {
		t.Helper()
		for _, args := range [][]string{
			{"gpg/verify.sh", public, signed[Plain].file + ".asc", signed[Plain].file},
			{"maven/verify.sh", public, signed[Plain].file},
			{"deb/verify.sh", public, signed[Deb].file},
			{"rpm/verify.sh", public, signed[RPM].file},
		} {
			output, err := sample(t, args...)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(output, want)) {
				t.Errorf("samples/%s: %v, want %q\n%s", args[0], err, want, output)
			}
		}
	}
	judge(false, key.PublicKey, "")
	samples(key.PublicKey, "")

	// The key ended while nobody looked: its end is put to a moment after its creation.
	expired := filepath.Join(key.Home, "expired.asc")
	gpg("--quick-set-expire", key.Fingerprint, "seconds=1")
	gpg("--armor", "--output", expired, "--export")
	waitUntilExpired(t, expired)
	judge(false, expired, "expired on")
	judge(true, expired, "")
	samples(expired, "has been revoked or has expired")

	revocation := filepath.Join(key.Home, "openpgp-revocs.d", key.Fingerprint+".rev")
	data, err := os.ReadFile(revocation)
	if err != nil {
		t.Fatal(err)
	}
	write(t, revocation, strings.Replace(string(data), ":-----BEGIN", "-----BEGIN", 1))
	revoked := filepath.Join(key.Home, "revoked.asc")
	gpg("--import", revocation)
	gpg("--armor", "--output", revoked, "--export")
	judge(false, revoked, "has been revoked")
	judge(true, revoked, "has been revoked")
	samples(revoked, "has been revoked or has expired")
}

// waitUntilExpired returns when the only key of the file has ended, for gpg, too, which counts in whole seconds.
func waitUntilExpired(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pgpkey.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if key.Expires().IsZero() || time.Until(key.Expires()) > time.Minute {
		t.Fatalf("the key ends at %s", key.Expires())
	}
	time.Sleep(time.Until(key.Expires().Add(2 * time.Second)))
}

// sample runs a script of samples/.
func sample(t *testing.T, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(deadline(t), filepath.Join("..", "..", "samples", args[0]), args[1:]...)
	output, err := command.CombinedOutput()
	return string(output), err
}
