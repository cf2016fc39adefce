package mockapi_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signkit/internal/mockapi"
)

// chainOf asks for the certificates of a policy's key, leaf first.
func (x *target) chainOf(t *testing.T, slug string) []*x509.Certificate {
	t.Helper()
	var answer struct {
		X509CertificateData  []byte
		X509CertificateChain [][]byte
	}
	x.call(t, "GET", "/Certificates/"+slug, "", nil).into(t, http.StatusOK, &answer)
	var chain []*x509.Certificate
	for _, der := range answer.X509CertificateChain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 || !bytes.Equal(chain[0].Raw, answer.X509CertificateData) {
		t.Fatalf("the chain of %d certificates does not begin with x509CertificateData", len(chain))
	}
	return chain
}

func rootPool(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		t.Fatalf("%s holds no certificate", file)
	}
	return pool
}

func TestChainsVerifyForCodeSigning(t *testing.T) {
	for _, length := range []int{2, 3, 6} {
		cfg := fastConfig()
		cfg.ChainLength = length
		s := start(t, cfg)
		chain := first(t, s).chainOf(t, "p-384")
		if len(chain) != length {
			t.Fatalf("the chain has %d certificates, want %d", len(chain), length)
		}
		between := x509.NewCertPool()
		for _, cert := range chain[1 : length-1] {
			between.AddCert(cert)
		}
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: rootPool(t, s.RootFile()), Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}})
		if err != nil {
			t.Errorf("chain of %d: %v", length, err)
		}
		if chain[0].KeyUsage != x509.KeyUsageDigitalSignature || chain[0].NotAfter.Before(time.Now().Add(600*24*time.Hour)) || len(chain[0].OCSPServer)+len(chain[0].IssuingCertificateURL) > 0 {
			t.Errorf("leaf: key usage %b, until %s", chain[0].KeyUsage, chain[0].NotAfter)
		}
	}
}

func TestSelfSignedLeaf(t *testing.T) {
	cfg := fastConfig()
	cfg.ChainLength = 1
	chain := first(t, start(t, cfg)).chainOf(t, "p-256")
	if len(chain) != 1 || chain[0].CheckSignature(chain[0].SignatureAlgorithm, chain[0].RawTBSCertificate, chain[0].Signature) != nil {
		t.Errorf("chain of %d is not one self-signed leaf", len(chain))
	}
}

func TestFormatsOfCertificateRoutes(t *testing.T) {
	cfg := mockapi.DefaultConfig()
	cfg.Formats = mockapi.Formats{X509Certificate: "pem", GPGPublicKey: "binary", Chain: "objects"}
	x := first(t, start(t, cfg))
	base := "/Projects/demo/SigningPolicies/"
	if block, _ := pem.Decode(x.call(t, "GET", base+"p-256/Certificate/X509Certificate", "", nil).body); block == nil || block.Type != "CERTIFICATE" {
		t.Error("X509Certificate is not PEM")
	}
	if body := x.call(t, "GET", base+"gpg-p-256/Certificate/GpgPublicKey", "", nil).body; len(body) == 0 || body[0]&0x80 == 0 {
		t.Error("GpgPublicKey is not binary")
	}
	var answer struct {
		X509CertificateChain []struct{ X509CertificateData []byte }
	}
	x.call(t, "GET", "/Certificates/p-256", "", nil).into(t, 200, &answer)
	if len(answer.X509CertificateChain) != 3 || len(answer.X509CertificateChain[2].X509CertificateData) == 0 {
		t.Errorf("the chain is not one of objects: %+v", answer)
	}
}

func TestGPGKeysImportIntoGnuPG(t *testing.T) {
	if _, err := exec.LookPath("gpg"); err != nil {
		skip(t, "no gpg here")
	}
	s, _ := shared(t)
	x := first(t, s)
	for _, policy := range []string{"gpg-rsa-4096", "gpg-p-256"} {
		home := t.TempDir()
		if err := os.Chmod(home, 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(home, "key.asc")
		if err := os.WriteFile(file, x.call(t, "GET", "/Projects/demo/SigningPolicies/"+policy+"/Certificate/GpgPublicKey", "", nil).body, 0o600); err != nil {
			t.Fatal(err)
		}
		run := func(args ...string) string {
			cmd := exec.CommandContext(limited(t), "gpg", append([]string{"--homedir", home, "--batch", "--no-autostart"}, args...)...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("gpg %v: %v\n%s", args, err, out)
			}
			return string(out)
		}
		run("--import", file)
		list := run("--with-colons", "--check-signatures")
		if !strings.Contains(list, policy+"@example.com") || !strings.Contains(list, "sig:!") || !strings.Contains(list, ":scSC:") && !strings.Contains(list, ":scESC:") {
			t.Errorf("%s: want a good self-signature and a key that signs and certifies:\n%s", policy, list)
		}
	}
}

// skip says why, and fails where nothing may be skipped.
func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("SIGNKIT_NO_SKIP") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
