package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	_ "github.com/notaryproject/notation-core-go/signature/cose"
	_ "github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	notationplugin "github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-go/signer"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"signkit/internal/mockapi"
)

// buildPlugin builds the program under the name that notation looks for.
func buildPlugin(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "notation-signkit")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

func startService(t *testing.T) *mockapi.Server {
	t.Helper()
	s, err := mockapi.Start(mockapi.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func root(t *testing.T, s *mockapi.Server) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(s.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNotationSignsWithEveryKey lets notation's own library call the program, make the envelope
// and verify it with only the root.
func TestNotationSignsWithEveryKey(t *testing.T) {
	s := startService(t)
	settings := map[string]string{ // nothing comes from the environment
		"ApiUrl": s.APIURL(), "OrganizationId": s.OrganizationID(), "ApiToken": s.Token(), "SIGNKIT_CA_FILE": s.CAFile(),
	}
	plugin, err := notationplugin.NewCLIPlugin(t.Context(), "signkit", buildPlugin(t))
	if err != nil {
		t.Fatal(err)
	}
	artifact := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Size: 528,
		Digest: "sha256:73c803930ea3ba1e54bc25c2bdc53edd0284c62ed651fe7b00369da519a3c333",
	}
	for _, key := range []string{"rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384", "p-521"} {
		for _, format := range []string{"application/jose+json", "application/cose"} {
			t.Run(key+"/"+filepath.Base(format), func(t *testing.T) {
				pluginSigner, err := signer.NewPluginSigner(plugin, "demo/"+key, settings)
				if err != nil {
					t.Fatal(err)
				}
				envelope, _, err := pluginSigner.Sign(t.Context(), artifact, notation.SignerSignOptions{
					SignatureMediaType: format, ExpiryDuration: 24 * time.Hour,
				})
				if err != nil {
					t.Fatal(err)
				}
				verify(t, format, envelope, root(t, s))
			})
		}
	}
}

func verify(t *testing.T, format string, envelope []byte, root *x509.Certificate) {
	t.Helper()
	parsed, err := signature.ParseEnvelope(format, envelope)
	if err != nil {
		t.Fatal(err)
	}
	content, err := parsed.Verify()
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := signature.VerifyAuthenticity(&content.SignerInfo, []*x509.Certificate{root})
	if err != nil || !trusted.Equal(root) {
		t.Errorf("the signature does not end at the root: %v", err)
	}
	if n := len(content.SignerInfo.CertificateChain); n != 3 {
		t.Errorf("%d certificates in the envelope, want leaf, intermediate and root", n)
	}
}

// TestNotationShowsTheReason: what notation makes of stderr is our sentence.
func TestNotationShowsTheReason(t *testing.T) {
	s := startService(t)
	plugin, err := notationplugin.NewCLIPlugin(t.Context(), "signkit", buildPlugin(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SIGNPATH_LOG_CONSOLE_LEVEL", "debug") // must not get between
	pluginSigner, err := signer.NewPluginSigner(plugin, "demo/none", map[string]string{
		"ApiUrl": s.APIURL(), "OrganizationId": s.OrganizationID(), "ApiToken": s.Token(), "SIGNKIT_CA_FILE": s.CAFile(),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = pluginSigner.Sign(t.Context(), ocispec.Descriptor{}, notation.SignerSignOptions{SignatureMediaType: "application/cose"})
	const want = "failed to sign with the plugin signkit: there is no signing policy demo/none that the token's user may submit to; " +
		"check both slugs and the policy's submitters"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
