package signpath

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
)

// allOptions are the options that a key of that name supports.
func allOptions(name string) []crypto.SignerOpts {
	hashes := []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512}
	var list []crypto.SignerOpts
	for _, h := range hashes {
		list = append(list, h)
		if strings.HasPrefix(name, "p-") || strings.Contains(name, "p-256") {
			list = append(list, ECDSAOptions{Hash: h, Format: P1363}, ECDSAOptions{Hash: h}, &ECDSAOptions{Hash: h, Format: P1363})
		} else {
			list = append(list, &rsa.PSSOptions{Hash: h, SaltLength: h.Size()})
		}
	}
	return list
}

// verifyIndependently checks a signature without this package's own verification.
func verifyIndependently(public crypto.PublicKey, digest, signature []byte, opts crypto.SignerOpts) error {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(public, pss.Hash, digest, signature, &rsa.PSSOptions{SaltLength: pss.Hash.Size()})
		}
		return rsa.VerifyPKCS1v15(public, opts.HashFunc(), digest, signature)
	case *ecdsa.PublicKey:
		format := ASN1
		switch opts := opts.(type) {
		case ECDSAOptions:
			format = opts.Format
		case *ECDSAOptions:
			format = opts.Format
		}
		if format == P1363 {
			size := (public.Params().BitSize + 7) / 8
			if len(signature) != 2*size {
				return fmt.Errorf("P1363 signature of %d bytes", len(signature))
			}
			r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
			signature, _ = asn1.Marshal(struct{ R, S *big.Int }{r, s})
		}
		if !ecdsa.VerifyASN1(public, digest, signature) {
			return errors.New("ECDSA signature does not verify")
		}
	}
	return nil
}

func TestSignWithEveryKeyAndAlgorithm(t *testing.T) {
	s := newService(t, true)
	s.handle("POST", "SigningRequests/SignHash", signHashHandler(t))
	c := newTestClient(t, s.config())
	for name := range testKeys() {
		key := c.key(name)
		for _, opts := range allOptions(name) {
			digest := bytes.Repeat([]byte{0x5a}, opts.HashFunc().Size())
			signature, err := key.SignContext(t.Context(), digest, opts)
			if err != nil {
				t.Fatalf("%s %v: %v", name, opts, err)
			}
			if err := verifyIndependently(key.Public(), digest, signature, opts); err != nil {
				t.Errorf("%s %T %v: %v", name, opts, opts, err)
			}
		}
	}
	wantInLog(t, c, "signingRequestId=0148-77", "webLink=https://web/0148-77", "policy=demo/p-256")
}

func TestSignRequestOfTheCurrentRoute(t *testing.T) {
	s := newService(t, true)
	var body map[string]any
	var header http.Header
	sign := signHashHandler(t)
	s.handle("POST", "SigningRequests/SignHash", func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(raw, &body)
		header = r.Header
		r.Body = io.NopCloser(bytes.NewReader(raw))
		sign(w, r)
	})
	cfg := s.config()
	cfg.Description = "nightly"
	cfg.CI.JobURL, cfg.CI.Commit = "https://ci/job/1", "abcdef"
	c := newTestClient(t, cfg, func(o *Options) { o.Process = testProcess })
	opts := &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 32}
	if _, err := c.key("rsa").Sign(nil, digest32, opts); err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(body)
	want := `{"description":"nightly","hashSigningData":{"hash":"19fX19fX19fX19fX19fX19fX19fX19fX19fX19fX19c=",` +
		`"metadata":{"ciJobUrl":"https://ci/job/1","commitId":"abcdef","sourceProcess":{"commandLine":"openssl dgst [redacted]",` +
		`"operatingSystem":{"architecture":"x64","type":"Linux","version":"Debian 12"},"user":"build"}},` +
		`"rsaOptions":{"hashAlgorithmName":"Sha256","paddingMode":"Pss"},"signatureAlgorithm":"Rsa"},` +
		`"projectSlug":"demo","signingPolicySlug":"rsa"}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if agent := header.Get("User-Agent"); !strings.HasPrefix(agent, "signkit/") || !strings.Contains(agent, "(linux; ") {
		t.Errorf("User-Agent %q", agent)
	}
	if header.Get("Accept") != "application/json" || header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", header)
	}
}

// answerWith answers the current sign route with a fixed signature and hash.
func answerWith(signature, hash []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		answer := map[string]any{"signingRequestId": "0148-78", "hashSigningResult": map[string]any{"signature": signature}}
		if hash != nil {
			answer["hashSigningData"] = map[string]any{"hash": hash}
		}
		writeJSON(w, answer)
	}
}

func TestWrongSignaturesAreRefused(t *testing.T) {
	good := rawSign(t, "rsa", digest32, crypto.SHA256, false)
	other := bytes.Repeat([]byte{1}, 32)
	broken := bytes.Clone(good)
	broken[100] ^= 1
	for _, test := range []struct {
		name, key       string
		signature, echo []byte
		opts            crypto.SignerOpts
	}{
		{"changed", "rsa", broken, nil, crypto.SHA256},
		{"too short", "rsa", good[1:], nil, crypto.SHA256},
		{"other digest", "rsa", rawSign(t, "rsa", other, crypto.SHA256, false), nil, crypto.SHA256},
		{"other padding", "rsa", good, nil, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 32}},
		{"echo of another hash", "rsa", good, other, crypto.SHA256},
		{"other key", "p-256", rawSign(t, "p-384", digest32, 0, false), nil, crypto.SHA256},
		{"zero r and s", "p-256", make([]byte, 64), nil, crypto.SHA256},
		{"other ECDSA digest", "p-256", rawSign(t, "p-256", other, 0, false), nil, crypto.SHA256},
		{"no signature of this kind", "p-521", good, nil, ECDSAOptions{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(t, true)
			s.handle("POST", "SigningRequests/SignHash", answerWith(test.signature, test.echo))
			key := newTestClient(t, s.config()).key(test.key)
			signature, err := key.SignContext(t.Context(), digest32, test.opts)
			if !errors.Is(err, ErrWrongSignature) || signature != nil {
				t.Fatalf("%x, %v", signature, err)
			}
			for _, part := range []string{"demo/" + test.key, "certificate may have changed", "0148-78"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error lacks %q: %v", part, err)
				}
			}
			if !key.Stale() {
				t.Error("the key is not stale")
			}
		})
	}
}

func TestASN1FromTheServiceIsAcceptedWhenItVerifies(t *testing.T) {
	s := newService(t, true)
	der, _ := testKeys()["p-384"].Sign(rand.Reader, fitDigest(digest32, 384), crypto.Hash(0))
	s.handle("POST", "SigningRequests/SignHash", answerWith(der, nil))
	key := newTestClient(t, s.config()).key("p-384")
	signature, err := key.SignContext(t.Context(), digest32, ECDSAOptions{Format: P1363})
	if err != nil || len(signature) != 96 {
		t.Fatalf("%d bytes, %v", len(signature), err)
	}
}

func TestPolicyErrorsMakeTheKeyStale(t *testing.T) {
	for field, want := range map[string]bool{"SigningPolicySlug": true, "signingPolicyId": true, "": false, "Description": false} {
		s := newService(t, true)
		s.handle("POST", "SigningRequests/SignHash", func(w http.ResponseWriter, _ *http.Request) {
			writeProblem(w, 400, fmt.Sprintf(`{"title":"t","errors":{%q:["no"]}}`, field))
		})
		key := newTestClient(t, s.config()).key("rsa")
		_, err := key.SignContext(t.Context(), digest32, crypto.SHA256)
		if key.Stale() != want || strings.Contains(fmt.Sprint(err), "may have changed") != want {
			t.Errorf("%q: stale %v, %v", field, key.Stale(), err)
		}
	}
}

func TestUnsupportedOptionsMakeNoRequest(t *testing.T) {
	s := newService(t, true)
	c := newTestClient(t, s.config())
	_, err := c.key("rsa").SignContext(t.Context(), digest32, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 7})
	if !errors.Is(err, ErrUnsupported) || len(s.seen()) != 0 {
		t.Errorf("%v, requests %v", err, s.seen())
	}
}

func TestCancelledContextIsPassedThrough(t *testing.T) {
	s := newService(t, true)
	entered := make(chan struct{})
	s.handle("POST", "SigningRequests/SignHash", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(entered)
		<-r.Context().Done()
	})
	c := newTestClient(t, s.config())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		select {
		case <-entered:
		case <-t.Context().Done():
		}
		cancel()
	}()
	_, err := c.key("rsa").SignContext(ctx, digest32, crypto.SHA256)
	if !errors.Is(err, context.Canceled) || len(c.clock.waits()) != 0 {
		t.Errorf("%v, waits %v", err, c.clock.waits())
	}
}
