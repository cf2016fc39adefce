package artifact

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signkit/images"
	"signkit/internal/pgpkey"
)

// TestECDSAKeysAreTakenForRPMWhereTheMatrixSaysSo: signing, what doctor asks, and the sample's recipe agree with images/matrix.json.
func TestECDSAKeysAreTakenForRPMWhereTheMatrixSaysSo(t *testing.T) {
	need(t, "bash", "awk")
	all, err := images.All()
	if err != nil {
		t.Fatal(err)
	}
	sample, err := filepath.Abs("../../samples/rpm/sign.sh")
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey := publicKey(t, func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })
	rsaKey := publicKey(t, func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	for _, image := range all {
		libraries := "librpm.so.9 => /lib/librpm.so.9"
		if image.RPMECDSA {
			libraries += "\nlibrpm_sequoia.so.1 => /lib/librpm_sequoia.so.1"
		}
		withPrograms(t, map[string]string{
			"rpm":     "echo RPM version " + image.Versions["rpm"],
			"rpmkeys": "",
			"rpmsign": "exit 1",
			"ldd":     "echo '" + libraries + "'",
			"gpg":     "echo pub:-:256:19:0123456789ABCDEF:1:::-:::scSC::::::23::0:",
			"signkit": "echo export GPG_KEY_ID=0123",
		})
		version, knows, err := RPMVersion(deadline(t), os.Environ())
		if version != image.Versions["rpm"] || knows != image.RPMECDSA || err != nil {
			t.Errorf("%s: RPMVersion = %s, %v, %v; want %v", image.Name, version, knows, err, image.RPMECDSA)
		}
		const refusal = "cannot check ECDSA signatures; choose a policy with an RSA key"
		signer := &Signer{OpenPGP: &OpenPGP{PublicKey: ecdsaKey}, Environ: os.Environ()}
		if err := signer.checkRPMAlgorithm(deadline(t)); strings.Contains(fmt.Sprint(err), refusal) == image.RPMECDSA {
			t.Errorf("%s: an ECDSA key: %v", image.Name, err)
		}
		signer.OpenPGP.PublicKey = rsaKey
		if err := signer.checkRPMAlgorithm(deadline(t)); err != nil {
			t.Errorf("%s: an RSA key: %v", image.Name, err)
		}
		command := exec.CommandContext(deadline(t), "bash", sample, "demo/gpg-p-256", textFile(t, "x.rpm", "x"))
		output, err := command.CombinedOutput()
		if err == nil || strings.Contains(string(output), refusal) == image.RPMECDSA {
			t.Errorf("%s: the sample: %v\n%s", image.Name, err, output)
		}
	}
}

// publicKey writes the OpenPGP key of a key that crypto has made.
func publicKey(t *testing.T, generate func() (crypto.Signer, error)) string {
	t.Helper()
	private, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := pgpkey.Create(t.Context(), local{private}, pgpkey.Options{Name: "ours", Created: time.Now().Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	armored, err := key.Armor()
	if err != nil {
		t.Fatal(err)
	}
	return textFile(t, "ours.asc", string(armored))
}

// local is a key of this process, where one of the service is meant.
type local struct{ crypto.Signer }

func (l local) SignContext(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return l.Sign(rand.Reader, digest, opts)
}

func TestRPMVersionsThatAlwaysKnowECDSA(t *testing.T) {
	for version, want := range map[string]bool{
		"4.16.1.2": false, "4.18.0": false, "4.19.1": false, "4.20.1": true, "6.0.1": true, "5.4": true, "x": false, "": false,
	} {
		withPrograms(t, map[string]string{"rpm": "echo " + version}) // no rpmkeys, no ldd
		t.Setenv("PATH", filepath.SplitList(os.Getenv("PATH"))[0])
		if got, ecdsa, err := RPMVersion(deadline(t), os.Environ()); got != version || ecdsa != want || err != nil {
			t.Errorf("RPMVersion of %q = %q, %v, %v", version, got, ecdsa, err)
		}
	}
}

// withPrograms puts shell scripts in front of the programs of this machine, for the rest of the test.
func withPrograms(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// TestOnlyAPackageWithoutSignaturesIsTakenForOne: of anything else rpmkeys has the word.
func TestOnlyAPackageWithoutSignaturesIsTakenForOne(t *testing.T) {
	need(t, "rpmsign", "rpmkeys", "rpmbuild")
	unsigned := rpmPackage(t)
	data, err := os.ReadFile(unsigned)
	if err != nil {
		t.Fatal(err)
	}
	if !rpmIsUnsigned(unsigned) {
		t.Error("a new package is not known as such")
	}
	signed := filepath.Join(t.TempDir(), "signed.rpm")
	write(t, signed, string(data))
	key := softKey(t, "ours")
	wantStatus(t, (&Batch{Hands: []*Hand{hand(key)}}).Run(deadline(t), plan(t, "", signed)), Signed)
	damaged := append([]byte{}, data...)
	damaged[96]++ // the magic of the signature header
	for name, content := range map[string]string{"cut off": string(data[:110]), "damaged": string(damaged), "empty": ""} {
		file := filepath.Join(t.TempDir(), "odd.rpm")
		write(t, file, content)
		if rpmIsUnsigned(file) {
			t.Errorf("%s: taken for unsigned", name)
		}
	}
	if rpmIsUnsigned(signed) {
		t.Error("a signed package is taken for unsigned")
	}
}
