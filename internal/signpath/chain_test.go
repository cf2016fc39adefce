package signpath

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// testPKI is a chain leaf → intermediate → root, and a root that has nothing to do with it.
type testPKI struct{ leaf, intermediate, root, stranger *x509.Certificate }

func newTestPKI(t testing.TB) testPKI {
	keys := testKeys()
	root := testCertificate(t, "root", keys["p-384"], nil, nil)
	intermediate := testCertificate(t, "intermediate", keys["p-256"], root, keys["p-384"])
	return testPKI{leaf: testCertificate(t, "leaf", keys["rsa"], intermediate, keys["p-256"]), intermediate: intermediate, root: root,
		stranger: testCertificate(t, "root", keys["p-521"], nil, nil)} // same name, other key
}

func (c *testClient) keyWith(certificate *x509.Certificate) *Key {
	key := c.key("rsa")
	key.certificate = certificate
	return key
}

func names(chain []*x509.Certificate) string {
	var list []string
	for _, c := range chain {
		list = append(list, c.Subject.CommonName)
	}
	return strings.Join(list, " ")
}

func b64(c *x509.Certificate) string { return base64.StdEncoding.EncodeToString(c.Raw) }

func TestChainForms(t *testing.T) {
	pki := newTestPKI(t)
	leafPEM := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pki.leaf.Raw}))
	issuers := []any{b64(pki.root), "garbage", b64(pki.stranger), 7, b64(pki.intermediate), b64(pki.leaf)} // any order
	for name, document := range map[string]any{
		"list":          []any{map[string]any{"slug": "a", "x509CertificateData": b64(pki.leaf), "x509CertificateChain": issuers}},
		"older name":    []any{map[string]any{"X509Certificate": b64(pki.leaf), "x509CertificateChain": issuers}},
		"PEM leaf":      []any{map[string]any{"x509CertificateData": leafPEM, "x509CertificateChain": issuers}},
		"list in field": map[string]any{"certificates": []any{map[string]any{"slug": "b", "type": "Gpg"}, map[string]any{"x509CertificateData": b64(pki.leaf), "x509CertificateChain": issuers}}},
		"objects": []any{map[string]any{"x509CertificateData": b64(pki.leaf), "x509CertificateChain": []any{
			map[string]any{"subject": "i", "data": b64(pki.intermediate)}, map[string]any{"data": b64(pki.root)}}}},
	} {
		s := newService(t, true)
		s.handle("GET", "Certificates", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, document) })
		chain, err := newTestClient(t, s.config()).keyWith(pki.leaf).Chain(t.Context())
		if err != nil || names(chain) != "intermediate root" || !chain[1].Equal(pki.root) {
			t.Errorf("%s: %s, %v", name, names(chain), err)
		}
	}
}

func TestChainFromDetails(t *testing.T) {
	pki := newTestPKI(t)
	for name, list := range map[string]any{
		"leaf without chain": []any{map[string]any{"slug": "mine", "x509CertificateData": b64(pki.leaf)}},
		"slugs only":         []any{map[string]any{"slug": "gpg", "type": "Gpg"}, map[string]any{"slug": "mine", "type": "X509"}},
	} {
		s := newService(t, true)
		s.handle("GET", "Certificates", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, list) })
		s.handle("GET", "Certificates/mine", func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, map[string]any{"slug": "mine", "x509CertificateData": b64(pki.leaf), "x509CertificateChain": []any{b64(pki.intermediate), b64(pki.root)}})
		})
		chain, err := newTestClient(t, s.config()).keyWith(pki.leaf).Chain(t.Context())
		if err != nil || names(chain) != "intermediate root" {
			t.Errorf("%s: %s, %v, requests %v", name, names(chain), err, s.seen())
		}
	}
}

func TestChainWithoutTheRightToReadIt(t *testing.T) {
	pki := newTestPKI(t)
	file := filepath.Join(t.TempDir(), "chain.pem")
	writePEM(t, file, pki.leaf, pki.stranger, pki.root, pki.intermediate)
	for _, status := range []int{403, 404} {
		s := newService(t, true)
		s.handle("GET", "Certificates", answerStatus(status))
		cfg := s.config()
		chain, err := newTestClient(t, cfg).keyWith(pki.leaf).Chain(t.Context())
		if err != nil || len(chain) != 0 {
			t.Errorf("%d without a file: %s, %v", status, names(chain), err)
		}
		cfg.CertificateChainFile = file
		chain, err = newTestClient(t, cfg).keyWith(pki.leaf).Chain(t.Context())
		if err != nil || names(chain) != "intermediate root" {
			t.Errorf("%d: %s, %v", status, names(chain), err)
		}
	}
}

func TestIncompleteChainIsCompletedFromTheFile(t *testing.T) {
	pki := newTestPKI(t)
	s := newService(t, true)
	s.handle("GET", "Certificates", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, []any{map[string]any{"x509CertificateData": b64(pki.leaf), "x509CertificateChain": []any{b64(pki.intermediate)}}})
	})
	cfg := s.config()
	cfg.CertificateChainFile = filepath.Join(t.TempDir(), "root.pem")
	writePEM(t, cfg.CertificateChainFile, pki.root)
	chain, err := newTestClient(t, cfg).keyWith(pki.leaf).Chain(t.Context())
	if err != nil || names(chain) != "intermediate root" {
		t.Errorf("%s, %v", names(chain), err)
	}
	cfg.CertificateChainFile = "/nowhere"
	if _, err := newTestClient(t, cfg).keyWith(pki.leaf).Chain(t.Context()); err == nil || !strings.Contains(err.Error(), "SIGNKIT_CERTIFICATE_CHAIN_FILE") {
		t.Error(err)
	}
}

func TestChainIsFetchedOnce(t *testing.T) {
	pki := newTestPKI(t)
	s := newService(t, true)
	release := make(chan struct{})
	s.handle("GET", "Certificates", func(w http.ResponseWriter, r *http.Request) {
		waitFor(r, release)
		writeJSON(w, []any{map[string]any{"x509CertificateData": b64(pki.leaf), "x509CertificateChain": []any{b64(pki.intermediate), b64(pki.root)}}})
	})
	c := newTestClient(t, s.config())
	keys := []*Key{c.keyWith(pki.leaf), c.keyWith(pki.leaf)}
	if len(s.seen()) != 0 {
		t.Fatal("fetched before it was asked for")
	}
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			chain, err := keys[i%2].Chain(t.Context())
			if err != nil || len(chain) != 2 {
				t.Errorf("%s, %v", names(chain), err)
			}
		})
	}
	close(release)
	group.Wait()
	if chain, _ := keys[0].Chain(t.Context()); len(chain) != 2 || len(s.seen()) != 1 {
		t.Errorf("%d requests", len(s.seen()))
	}
}

func TestFailedChainIsFetchedAgain(t *testing.T) {
	pki := newTestPKI(t)
	s := newService(t, true)
	s.handle("GET", "Certificates", answerStatus(500))
	cfg := s.config()
	cfg.Timeouts.RetryCount = 0
	key := newTestClient(t, cfg).keyWith(pki.leaf)
	for range 2 {
		if _, err := key.Chain(t.Context()); err == nil {
			t.Error("no error")
		}
	}
	if len(s.seen()) != 2 {
		t.Errorf("requests %v", s.seen())
	}
}

func TestChainOfKeysThatHaveNone(t *testing.T) {
	s := newService(t, true)
	c := newTestClient(t, s.config())
	for _, key := range []*Key{c.keyWith(nil), c.keyWith(newTestPKI(t).root)} {
		if chain, err := key.Chain(t.Context()); chain != nil || err != nil || len(s.seen()) != 0 {
			t.Errorf("%s, %v, requests %v", names(chain), err, s.seen())
		}
	}
}

// fixedChain is leaf, intermediate and root: fuzzing needs the same ones in every process.
func fixedChain(t testing.TB) []*x509.Certificate {
	t.Helper()
	file, err := os.ReadFile("testdata/chain.pem")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := parseCertificates(file)
	if err != nil || len(chain) != 3 {
		t.Fatalf("%d certificates, %v", len(chain), err)
	}
	return chain
}

// checkLinks fails where a chain of leaf has a link that its successor has not signed.
func checkLinks(t *testing.T, leaf *x509.Certificate, chain []*x509.Certificate) {
	t.Helper()
	for child := leaf; len(chain) > 0; child, chain = chain[0], chain[1:] {
		if child.CheckSignatureFrom(chain[0]) != nil {
			t.Error("unsigned link in the chain")
		}
	}
}

// FuzzCertificates reads lists of certificates as the service gives them.
func FuzzCertificates(f *testing.F) {
	pki := fixedChain(f)
	for _, document := range []any{
		[]any{map[string]any{"x509CertificateData": b64(pki[0]), "x509CertificateChain": []any{b64(pki[1]), map[string]any{"d": b64(pki[2])}}}},
		map[string]any{"items": []any{map[string]any{"slug": "x"}}}, []any{nil, 1, "x", []any{[]any{}}},
		map[string]any{"x509Certificate": b64(pki[0]), "x509CertificateChain": b64(pki[0])},
	} {
		raw, _ := json.Marshal(document)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var document any
		if json.Unmarshal(raw, &document) != nil {
			return
		}
		for _, entry := range collectCertificates(document, nil) {
			checkLinks(t, pki[0], orderChain(pki[0], entry.chain))
		}
	})
}

// FuzzCertificateFile reads files of certificates, DER and PEM.
func FuzzCertificateFile(f *testing.F) {
	var all []byte
	for _, c := range fixedChain(f) {
		f.Add(c.Raw)
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	f.Add(all)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := parseCertificates(raw)
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%d certificates, %v", len(list), err)
		}
		for _, c := range list {
			checkLinks(t, c, orderChain(c, list))
		}
	})
}

// TestCertificate reads DER and PEM, and names the policy when neither is there.
func TestCertificate(t *testing.T) {
	pki := newTestPKI(t)
	for name, body := range map[string][]byte{
		"DER": pki.leaf.Raw, "PEM": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pki.leaf.Raw}),
		"garbage": []byte("garbage"), "html": []byte("<html>"), "empty PEM": []byte("-----BEGIN CERTIFICATE-----\n"),
	} {
		s := newService(t, true)
		s.handle("GET", "Projects/a b/SigningPolicies/c%2Fd/Certificate/X509Certificate", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
		certificate, err := newTestClient(t, s.config()).Certificate(t.Context(), "a b", "c/d")
		good := name == "DER" || name == "PEM"
		if good && (err != nil || !certificate.Equal(pki.leaf)) || !good && (err == nil || !strings.Contains(err.Error(), "a b/c/d")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
