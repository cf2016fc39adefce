package integration

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smallstep/pkcs7"
)

// TestCosign signs files and an image in a registry, offline, and verifies them with the key of a certificate that ends at
// the root.
func TestCosign(t *testing.T) {
	s := need(t)
	cells := append(s.inAll(twoUsers, cell{sample: "cosign", key: "demo/p-256"}),
		s.inAll(users[:1], cell{sample: "cosign", key: "demo/rsa-3072"})...)
	s.each(t, cells, func(w *workplace) {
		images := w.registryFor(2)
		w.write("one", "one "+w.Name()+"\n")
		w.write("two", "two "+w.Name()+"\n")
		w.write("bare", "bare "+w.Name()+"\n")
		w.certificates("chain.pem", w.key)
		w.service.clearRequests(w.T)
		w.signMounted(w.key, "blob", "one", "two")
		// For each file a time-stamp to see that the authority gives one; policy, signature and time-stamp.
		w.service.wantRequests(w.T, 2*4, 2*3)
		w.missing("one.sigstore.json.part")
		w.signMounted("--http", w.key, "image", images[0])

		w.roots("root.pem", "stranger.pem")
		w.stampChain("one.sigstore.json", "root.pem", "tsa.pem")
		verify := "bash $verify --http --root root.pem --tsa-chain tsa.pem "
		good := []check{
			{"files", true, verify + "chain.pem blob one two"},
			{"image", true, verify + "chain.pem image " + images[0]},
		}
		if w.user != users[0] { // who signed makes no difference to the rest
			w.judgeOnline("", append(good, check{"unsigned image", false, verify + "chain.pem image " + images[1]})...)
			return
		}
		w.signMounted("--no-timestamp", w.key, "blob", "bare")
		w.certificates("other.pem", otherKey(w.key))
		w.stampChain("one.sigstore.json", "stranger.pem", "stranger-tsa.pem")
		w.judgeOnline("cp one tampered; cp one.sigstore.json tampered.sigstore.json; echo x >>tampered; cp two unsigned", append(good,
			check{"unsigned file", false, verify + "chain.pem blob unsigned"},
			check{"unsigned image", false, verify + "chain.pem image " + images[1]},
			check{"tampered file", false, verify + "chain.pem blob tampered"},
			check{"wrong key, file", false, verify + "other.pem blob one"},
			check{"wrong key, image", false, verify + "other.pem image " + images[0]},
			check{"wrong root", false, "bash $verify --root stranger.pem --tsa-chain tsa.pem chain.pem blob one"},
			check{"wrong authority, file", false, "bash $verify --root root.pem --tsa-chain stranger-tsa.pem chain.pem blob one"},
			check{"wrong authority, image", false, "bash $verify --http --root root.pem --tsa-chain stranger-tsa.pem chain.pem image " + images[0]},
			check{"no time-stamp", false, verify + "chain.pem blob bare"},
			check{"no time-stamp wanted", true, "bash $verify --root root.pem --no-timestamp chain.pem blob bare"},
			check{"time-stamp that lives too short", true, verify + "--tsa-years 11 chain.pem blob one 2>&1 | grep 'about 10 years'"},
		)...)
	})
}

// signMounted is sign, with the programs mounted for the sample.
func (w *workplace) signMounted(arguments ...string) {
	w.Helper()
	got := w.with(append([]string{samplesInImage + "/" + w.sample + "/sign.sh"}, arguments...)...)
	if got.code != 0 {
		w.Fatalf("sign.sh ended with %d", got.code)
	}
}

// stampChain writes the certificate of the authority that stamped a file, and a root below it.
func (w *workplace) stampChain(bundle, rootFile, to string) {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, bundle))
	if err != nil {
		w.Fatal(err)
	}
	var b struct {
		VerificationMaterial struct {
			TimestampVerificationData struct {
				RFC3161Timestamps []struct{ SignedTimestamp string }
			}
		}
	}
	if err := json.Unmarshal(text, &b); err != nil {
		w.Fatal(err)
	}
	stamps := b.VerificationMaterial.TimestampVerificationData.RFC3161Timestamps
	if len(stamps) != 1 {
		w.Fatalf("%d time-stamps in %s, want 1", len(stamps), bundle)
	}
	der, err := base64.StdEncoding.DecodeString(stamps[0].SignedTimestamp)
	if err != nil {
		w.Fatal(err)
	}
	own, err := stampCertificate(der)
	if err != nil {
		w.Fatal(err)
	}
	issuer, err := os.ReadFile(filepath.Join(w.dir, rootFile))
	if err != nil {
		w.Fatal(err)
	}
	w.write(to, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Raw}))+string(issuer))
}

// TestCosignNeedsTheFlag: without the setting that sample sets, the module says which one cosign needs.
func TestCosignNeedsTheFlag(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:1], cell{sample: "cosign", form: "read-write", key: "demo/p-256"}), func(w *workplace) {
		const flag = "SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS"
		w.write("file", "never signed\n")
		w.more = []string{flag + "="}
		got := w.with("bash", "-c", "sed '/^export "+flag+"/d' "+samplesInImage+"/cosign/sign.sh >/tmp/sign.sh && "+
			"bash /tmp/sign.sh demo/p-256 blob file")
		if got.code == 0 || !strings.Contains(got.stderr, flag+"=true") {
			w.Errorf("ended with %d", got.code)
		}
		w.missing("file.sigstore.json")
	})
}

// TestCosignAuthorities: the next time-stamp authority is asked when one fails or does not answer.
func TestCosignAuthorities(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:1], cell{sample: "cosign", form: "tsa-error", key: "demo/p-256"}), func(w *workplace) {
		w.write("file", "hello\n")
		w.certificates("chain.pem", w.key)
		good := "https://" + w.service.relay.address + "/tsa"
		w.service.fail(w.T, fault{Route: "tsa", Kind: "status", Status: 503}, fault{Route: "tsa", Kind: "hang"})
		w.signMounted("--tsa", "http://127.0.0.1:1/", "--tsa", good, "--tsa", good, "--tsa", good, w.key, "blob", "file")
		w.roots("root.pem", "stranger.pem")
		w.stampChain("file.sigstore.json", "root.pem", "tsa.pem")
		w.judgeOnline("", check{"signed", true, "bash $verify --root root.pem --tsa-chain tsa.pem chain.pem blob file"})
	})
}

func TestCosignFailures(t *testing.T) {
	s := need(t)
	s.fails(t, "cosign", "PIN=CONFIG", func(w *workplace) (arguments func(key string) []string, kept func()) {
		w.write("file", "never signed\n")
		return func(key string) []string { return []string{key, "blob", "file"} }, func() {
			w.missing("file.sigstore.json")
			w.missing("file.sigstore.json.part")
		}
	})
}

// TestCosignSignsOnce: cosign 3 prints a notice with the word "timestamp" whatever happens, and is called once all the same.
func TestCosignSignsOnce(t *testing.T) {
	s := need(t)
	s.signsOnce(t, "cosign", func(w *workplace) []string {
		w.write("file", "never signed\n")
		return []string{w.key, "blob", "file"}
	})
}

// stampCertificate is the one certificate in a time-stamp (RFC 3161, section 2.4.2).
func stampCertificate(response []byte) (*x509.Certificate, error) {
	var parts struct{ Status, Token asn1.RawValue }
	if _, err := asn1.Unmarshal(response, &parts); err != nil {
		return nil, err
	}
	token, err := pkcs7.Parse(parts.Token.FullBytes)
	if err != nil {
		return nil, err
	}
	if len(token.Certificates) != 1 {
		return nil, fmt.Errorf("%d certificates in the time-stamp, want 1", len(token.Certificates))
	}
	return token.Certificates[0], nil
}
