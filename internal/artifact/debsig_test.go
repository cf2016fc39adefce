package artifact

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestDebIsVerifiedWhereGPGUsesKeyboxd: gpg looks at no --keyring then. The package's own verification and the sample's agree.
func TestDebIsVerifiedWhereGPGUsesKeyboxd(t *testing.T) {
	need(t, "debsigs", "debsig-verify", "dpkg-deb", "ar", "gpgv")
	ours, other := softKey(t, "ours"), softKey(t, "other")
	file := debPackage(t)
	signed, dir := signInto(t, &Signer{OpenPGP: ours, Environ: os.Environ()}, Deb, file)
	gpg, err := exec.LookPath("gpg")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := "#!/bin/sh\ncase \" $* \" in *' --verify '*) echo 'gpg: Can'\\''t check signature: No public key' >&2; exit 2 ;; esac\nexec " + gpg + ` "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(bin, "gpg"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	changed := filepath.Join(t.TempDir(), filepath.Base(file))
	if err := copyFile(deadline(t), signed, changed); err != nil {
		t.Fatal(err)
	}
	tamper(t, changed)
	for name, test := range map[string]struct {
		file string
		key  *OpenPGP
		good bool
	}{
		"signed": {signed, ours, true}, "unsigned": {file, ours, false}, "tampered": {changed, ours, false}, "wrong key": {signed, other, false},
	} {
		err := (&Verifier{PublicKey: test.key.PublicKey, Environ: os.Environ()}).Verify(t.Context(), Deb, test.file, dir)
		if (err == nil) != test.good {
			t.Errorf("%s: Verify = %v", name, err)
		}
		sample := exec.CommandContext(t.Context(), "../../samples/deb/verify.sh", test.key.PublicKey, test.file)
		if output, err := sample.CombinedOutput(); (err == nil) != test.good {
			t.Errorf("%s: the sample ended with %v\n%s", name, err, output)
		}
	}
}
