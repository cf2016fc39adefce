package artifact

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// TestDebStructureIsReadStrictly: what dpkg and a verifier could read differently is no package.
func TestDebStructureIsReadStrictly(t *testing.T) {
	version, control, data := member{"debian-binary", "2.0\n"}, member{"control.tar.xz", "odd"}, member{"data.tar.zst", "even"}
	tests := []struct {
		name    string
		archive []byte
		want    string // in the error; empty: taken
	}{
		{"as dpkg-deb writes it", ar(version, control, data), ""},
		{"as binutils writes it", ar(member{"debian-binary/", "2.0\n"}, member{"control.tar.gz/", "x"}, member{"data.tar/", "x"}), ""},
		{"signed twice", ar(version, control, data, member{"_gpgorigin", "s"}, member{"_gpgmaint", "s"}), ""},
		{"order", ar(version, data, control), `the member "data.tar.zst" where`},
		{"two data members", ar(version, control, data, member{"data.tar.gz", "x"}), `the member "data.tar.gz" where`},
		{"a member before the control one", ar(version, member{"_gpgorigin", "s"}, control, data), `"_gpgorigin" where`},
		{"a signature twice", ar(version, control, data, member{"_gpgorigin", "s"}, member{"_gpgorigin/", "s"}), `"_gpgorigin" twice`},
		{"something else", ar(version, control, data, member{"readme", "x"}), `"readme" where`},
		{"an unknown compression", ar(version, control, member{"data.tar.lz4", "x"}), `"data.tar.lz4" where`},
		{"a name with a control character", ar(version, control, data, member{"\x1b[2J", "x"}), `"\x1b[2J" where`},
		{"no data member", ar(version, control), "has 2 members"},
		{"octets behind", append(ar(version, control, data), "extra"...), "damaged"},
		{"a member longer than the file", ar(version, control, data)[:140], "damaged"},
		{"no archive", []byte("hello"), "no ar archive"},
	}
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
			if err := signer.signDeb(t.Context(), file); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("signing: %v", err)
			}
			if err := (&Verifier{PublicKey: "unread"}).Verify(t.Context(), Deb, file, ""); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("verifying: %v", err)
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
			if err := verifier.Verify(t.Context(), Deb, signed, dir); err != nil {
				t.Fatal(err)
			}
			shell(t, dir, "dpkg-deb", "--contents", signed) // dpkg still reads it
			tamper(t, signed)
			if err := verifier.Verify(t.Context(), Deb, signed, dir); err == nil {
				t.Error("a tampered package verifies")
			}
		})
	}
}

// TestDebSignatureOfAnotherIsKept unless its replacement is asked for; other types of signatures stay in any case.
func TestDebSignatureOfAnotherIsKept(t *testing.T) {
	need(t, "debsig-verify", "dpkg-deb")
	ours, other := softKey(t, "ours"), softKey(t, "other")
	signed, dir := signInto(t, &Signer{OpenPGP: other, Environ: os.Environ()}, Deb, debPackage(t))
	before, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	maint := string(ar(member{"_gpgmaint", "kept"}))[len(arMagic):]
	write(t, signed, string(before)+maint)
	signer := &Signer{OpenPGP: ours, Environ: os.Environ()}
	_, err = signer.Sign(t.Context(), Deb, signed, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "signed by the key "+other.Fingerprint+" already; --force replaces") {
		t.Errorf("Sign = %v", err)
	}
	signer.Replace = true
	again, dir := signInto(t, signer, Deb, signed)
	if err := (&Verifier{PublicKey: ours.PublicKey, Environ: os.Environ()}).Verify(t.Context(), Deb, again, dir); err != nil {
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
		Plain: textFile(t, "app.tar.gz", "content\n"), AptRelease: textFile(t, "Release", "Suite: stable\n"),
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
			err := verifier.Verify(t.Context(), kind, s.file, s.dir)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), key.Fingerprint+" "+want)) {
				t.Errorf("%s: %v, want %q", kind, err, want)
			}
		}
	}
	judge(false, key.PublicKey, "")

	// The key ended while nobody looked: its end is put to a moment after its creation.
	expired := filepath.Join(key.Home, "expired.asc")
	gpg("--quick-set-expire", key.Fingerprint, "seconds=1")
	gpg("--armor", "--output", expired, "--export")
	waitUntilExpired(t, expired)
	judge(false, expired, "expired on")
	judge(true, expired, "")

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
}

// waitUntilExpired returns when the only key of the file has ended.
func waitUntilExpired(t *testing.T, file string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := (&Verifier{PublicKey: file}).keys(); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the key has not expired")
		}
		time.Sleep(100 * time.Millisecond)
	}
}
