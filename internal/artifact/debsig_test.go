package artifact

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestDebIsVerifiedWhereProgramsAreForbidden: Docker mounts a tmpfs that way.
func TestDebIsVerifiedWhereProgramsAreForbidden(t *testing.T) {
	need(t, "debsig-verify", "dpkg-deb", "unshare", "mount")
	folder := t.TempDir()
	mounted := exec.CommandContext(deadline(t), "unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "-o", "noexec", "none", folder)
	if output, err := mounted.CombinedOutput(); err != nil {
		t.Skipf("no file system without programs can be mounted here: %v, %s", err, output)
	}
	key := softKey(t, "ours")
	signed, dir := signInto(t, &Signer{OpenPGP: key, Environ: os.Environ()}, Deb, debPackage(t))
	// In a mount namespace of its own, this test's program runs again.
	again := exec.CommandContext(deadline(t), "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", `mount -t tmpfs -o noexec none "$1" && exec "$2" -test.run='^TestVerifyDebHere$'`, "-",
		folder, os.Args[0])
	again.Env = append(os.Environ(), "TMPDIR="+folder, "VERIFY_DEB_HERE="+signed, "VERIFY_DEB_KEY="+key.PublicKey)
	if output, err := again.CombinedOutput(); err != nil {
		t.Errorf("%s in %s: %v\n%s", signed, dir, err, output)
	}
}

// TestVerifyDebHere is the part of the test above that runs in the namespace.
func TestVerifyDebHere(t *testing.T) {
	file := os.Getenv("VERIFY_DEB_HERE")
	if file == "" {
		return
	}
	verifier := &Verifier{PublicKey: os.Getenv("VERIFY_DEB_KEY"), Environ: os.Environ()}
	if err := verifier.Verify(deadline(t), Deb, file, filepath.Dir(file)); err != nil {
		t.Error(err)
	}
}

// TestDebIsVerifiedWhereGPGUsesKeyboxd: gpg looks at no --keyring then. The package's own verification and the sample's agree.
func TestDebIsVerifiedWhereGPGUsesKeyboxd(t *testing.T) {
	need(t, "debsig-verify", "dpkg-deb", "ar", "gpgv")
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
