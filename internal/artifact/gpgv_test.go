package artifact

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSignatureOfADayToCome counts for nothing; gpgv takes it. A clock may be ahead by hours.
func TestSignatureOfADayToCome(t *testing.T) {
	t.Parallel()
	need(t, "gpg", "gpgv")
	key := softKey(t, "ours")
	for name, test := range map[string]struct {
		ahead time.Duration
		want  string
	}{
		"now": {0, ""}, "hours ahead": {12 * time.Hour, ""}, "days ahead": {50 * time.Hour, "which is to come"},
	} {
		t.Run(name, func(t *testing.T) {
			at := time.Now().Add(test.ahead).UTC().Format("20060102T150405")
			verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ(), InReleaseAlone: true}
			sign := func(file, name, command string) {
				t.Helper()
				shell(t, filepath.Dir(file), "gpg", "--homedir", key.Home, "--batch", "--faked-system-time", at,
					"--output", filepath.Join(filepath.Dir(file), name), command, file)
			}
			file := textFile(t, "app.tar.gz", "content")
			sign(file, "app.tar.gz.asc", "--detach-sign")
			wantText(t, verifier.Verify(deadline(t), Plain, file, filepath.Dir(file)), test.want)
			if output, err := sample(t, "gpg/verify.sh", key.PublicKey, file+".asc", file); (err == nil) != (test.want == "") || !strings.Contains(output, test.want) {
				t.Errorf("the sample: %v\n%s", err, output)
			}
			release := aptRelease(t, "Suite: stable\n")
			sign(release, "InRelease", "--clear-sign")
			wantText(t, verifier.Verify(deadline(t), AptRelease, release, filepath.Dir(release)), test.want)
		})
	}
}

// TestWhoElseSignedIsTold beside a verified signature, for each form that gpgv judges.
func TestWhoElseSignedIsTold(t *testing.T) {
	t.Parallel()
	need(t, "gpg", "gpgv")
	ours, other := softKey(t, "ours"), softKey(t, "other")
	shell(t, "", "gpg", "--homedir", ours.Home, "--batch", "--import", other.PublicKey)
	secret := textFile(t, "secret", "")
	shell(t, "", "gpg", "--homedir", other.Home, "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", "",
		"--output", secret, "--export-secret-keys")
	shell(t, "", "gpg", "--homedir", ours.Home, "--batch", "--import", secret)
	for command, made := range map[string]struct {
		kind Kind
		file string
		name string
	}{
		"--detach-sign": {Plain, textFile(t, "app.tar.gz", "content"), "app.tar.gz.asc"},
		"--clear-sign":  {AptRelease, aptRelease(t, "Suite: stable\n"), "InRelease"},
	} {
		dir := filepath.Dir(made.file)
		for _, signers := range [][]*OpenPGP{{ours}, {ours, other}, {other, ours}} {
			args := []string{"--homedir", ours.Home, "--batch", "--yes", "--output", filepath.Join(dir, made.name)}
			var want []string
			for _, key := range signers {
				args = append(args, "--local-user", key.Fingerprint)
				if key == other {
					want = []string{"the key " + other.Fingerprint}
				}
			}
			shell(t, dir, "gpg", append(args, command, made.file)...)
			var got []string
			verifier := &Verifier{PublicKey: ours.PublicKey, Environ: os.Environ(), InReleaseAlone: true}
			verifier.AlsoSigned = func(signer string) { got = append(got, signer) }
			if err := verifier.Verify(deadline(t), made.kind, made.file, dir); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s by %d: %v, also by %q, want %q", made.name, len(signers), err, got, want)
			}
		}
	}
}

// TestRPMSignatureOfADayToCome: rpmkeys takes it as gpgv does.
func TestRPMSignatureOfADayToCome(t *testing.T) {
	t.Parallel()
	need(t, "gpg", "rpmbuild", "rpmsign", "rpmkeys")
	key := softKey(t, "ours")
	for name, test := range map[string]struct {
		ahead time.Duration
		want  string
	}{
		"hours ahead": {12 * time.Hour, ""}, "days ahead": {50 * time.Hour, "which is to come"},
	} {
		t.Run(name, func(t *testing.T) {
			file := rpmPackage(t)
			dir := filepath.Dir(file)
			at := time.Now().Add(test.ahead).UTC().Format("20060102T150405")
			program := filepath.Join(dir, "gpg")
			if err := os.WriteFile(program, []byte("#!/bin/sh\nexec gpg --homedir '"+key.Home+"' --faked-system-time "+at+" \"$@\"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			shell(t, dir, "rpmsign", "--define", "_gpg_name "+key.Fingerprint, "--define", "__gpg "+program, "--addsign", file)
			verifier := &Verifier{PublicKey: key.PublicKey, Environ: os.Environ()}
			wantText(t, verifier.Verify(deadline(t), RPM, file, dir), test.want)
			if output, err := sample(t, "rpm/verify.sh", key.PublicKey, file); (err == nil) != (test.want == "") || !strings.Contains(output, test.want) {
				t.Errorf("the sample: %v\n%s", err, output)
			}
		})
	}
}

// TestSignaturesInAnRPM are found by their tags, of rpm 4 and 6, and nothing outside of the header is read.
func TestSignaturesInAnRPM(t *testing.T) {
	made := func(tag, offset, count uint32, store string) string {
		head := make([]byte, 96, 200)
		head = append(head, "\x8e\xad\xe8\x01\x00\x00\x00\x00"...)
		for _, n := range []uint32{1, uint32(len(store)), tag, 7, offset, count} {
			head = binary.BigEndian.AppendUint32(head, n)
		}
		return string(head) + store
	}
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"rpm 4":            {made(268, 1, 2, "xabx"), []string{"ab"}},
		"rpm 6":            {made(278, 0, 2, "YQ==\x00Yg==\x00"), []string{"a", "b"}},
		"another tag":      {made(1004, 0, 2, "ab"), nil},
		"behind its end":   {made(268, 1, 2, "ab"), []string{"error"}},
		"cut":              {made(268, 0, 2, "ab")[:129], []string{"error"}},
		"no header at all": {strings.Repeat("x", 200), []string{"error"}},
	} {
		found, err := rpmSignatures(strings.NewReader(test.file))
		var got []string
		for _, signature := range found {
			got = append(got, string(signature))
		}
		if err != nil {
			got = []string{"error"}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, test.want)
		}
	}
}

// TestASubkeyThatEndedIsToldAsSuch, and not as a stranger's key; it counts where ended keys do.
func TestASubkeyThatEndedIsToldAsSuch(t *testing.T) {
	need(t, "gpgv")
	key := softKey(t, "ours")
	t.Setenv("GNUPGHOME", key.Home)
	gpg := func(args ...string) {
		t.Helper()
		shell(t, key.Home, "gpg", append([]string{"--batch", "--yes", "--passphrase", "", "--pinentry-mode", "loopback"}, args...)...)
	}
	gpg("--quick-add-key", key.Fingerprint, "rsa2048", "sign", "never")
	file := textFile(t, "app.tar.gz", "content\n")
	good, ended := filepath.Join(key.Home, "good.asc"), filepath.Join(key.Home, "ended.asc")
	gpg("--armor", "--output", good, "--export")
	keys, err := readKeys(good)
	if err != nil || len(keys) != 1 || len(keys[0].KeyIDs()) != 2 {
		t.Fatalf("%d keys, %v; want one with a subkey", len(keys), err)
	}
	subkey := keys[0].KeyIDs()[1]
	gpg("--local-user", "0x"+subkey+"!", "--armor", "--output", file+".asc", "--detach-sign", file)
	judge := func(public string, allowExpired bool, want string) {
		t.Helper()
		verifier := &Verifier{PublicKey: public, AllowExpired: allowExpired, Environ: os.Environ()}
		err := verifier.Verify(deadline(t), Plain, file, filepath.Dir(file))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s, ended keys count %v: %v, want %q", filepath.Base(public), allowExpired, err, want)
		}
	}
	gpg("--quick-set-expire", key.Fingerprint, "seconds=1", "*")
	gpg("--armor", "--output", ended, "--export")
	time.Sleep(2 * time.Second) // it is over for as long as anybody looks
	judge(good, false, "")
	judge(ended, false, subkey+", which has expired or has been revoked")
	judge(ended, true, "")
}
