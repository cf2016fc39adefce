package keygrip

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// gpg names random keys as Of does.
func TestOfAgreesWithGPG(t *testing.T) {
	gpg, err := exec.LookPath("gpg")
	if err != nil {
		if os.Getenv("SIGNKIT_NO_SKIP") != "" {
			t.Fatal("gpg is not installed")
		}
		t.Skip("gpg is not installed")
	}
	var file bytes.Buffer
	var want []string
	for _, pub := range randomKeys(t) {
		grip, err := Of(pub)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, grip)
		file.Write(packet(6, publicKeyBody(t, pub)))
		file.Write(packet(13, []byte("random <random@example.org>")))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, gpg, "--homedir", t.TempDir(), "--batch", "--no-autostart",
		"--with-colons", "--with-keygrip", "--import-options", "show-only", "--import")
	cmd.Stdin = &file
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, output)
	}
	var got []string
	for line := range strings.Lines(string(output)) {
		if fields := strings.Split(strings.TrimSpace(line), ":"); fields[0] == "grp" {
			got = append(got, fields[9])
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("gpg says %q\nOf says %q", got, want)
	}
}

// randomKeys makes many keys on each curve, so that short coordinates occur
// (one in 256), and some RSA keys, which take long to make.
func randomKeys(t *testing.T) []crypto.PublicKey {
	t.Helper()
	var keys []crypto.PublicKey
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		for range 40 {
			key, err := ecdsa.GenerateKey(curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key.Public())
		}
	}
	for _, bits := range []int{2048, 2048, 3072} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.Public())
	}
	return keys
}

// publicKeyBody is a version 4 public-key packet (RFC 9580, section 5.5.2.2).
func publicKeyBody(t *testing.T, pub crypto.PublicKey) []byte {
	t.Helper()
	body := []byte{4, 0x65, 0x53, 0xF1, 0x00}
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		body = append(body, 1)
		return append(append(body, mpi(pub.N.Bytes())...), mpi(big.NewInt(int64(pub.E)).Bytes())...)
	case *ecdsa.PublicKey:
		oid := map[string]string{
			"P-256": "\x2A\x86\x48\xCE\x3D\x03\x01\x07", "P-384": "\x2B\x81\x04\x00\x22", "P-521": "\x2B\x81\x04\x00\x23",
		}[pub.Params().Name]
		point, err := pub.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		body = append(append(body, 19, byte(len(oid))), oid...)
		return append(body, mpi(point)...)
	}
	t.Fatalf("no packet for %T", pub)
	return nil
}

func mpi(octets []byte) []byte {
	bits := new(big.Int).SetBytes(octets).BitLen()
	return append(binary.BigEndian.AppendUint16(nil, uint16(bits)), octets...)
}

func packet(tag byte, body []byte) []byte {
	header := binary.BigEndian.AppendUint32([]byte{0xC0 | tag, 0xFF}, uint32(len(body)))
	return append(header, body...)
}
