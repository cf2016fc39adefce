package signpath

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// policyJSON is one element of the policies route for a test key.
func policyJSON(t testing.TB, name string) map[string]any {
	key := testKeys()[name]
	p := map[string]any{"projectSlug": "demo", "signingPolicySlug": name, "signingPolicyId": "id-" + name, "certificateType": "X509",
		"certificateBytes": testCertificate(t, name, key, nil, nil).Raw, "unknown": map[string]any{"a": 1}}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		p["keyType"], p["keySizeInBits"] = "Rsa", public.N.BitLen()
		p["rsaParameters"] = map[string]any{"publicExponent": "AQAB", "modulus": public.N.Bytes()}
		p["publicKeyBytes"] = x509.MarshalPKCS1PublicKey(public)
	case *ecdsa.PublicKey:
		p["keyType"], p["keySizeInBits"] = "Ecdsa", public.Params().BitSize
		p["publicKeyBytes"] = spki(t, public)
	}
	return p
}

func spki(t testing.TB, public crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func point(t testing.TB, public crypto.PublicKey) []byte {
	p, err := public.(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// readOne reads one policy after a change; nil when it was left out.
func readOne(t *testing.T, p map[string]any) (*Key, string) {
	t.Helper()
	raw, _ := json.Marshal(p)
	s := newService(t, true)
	c := newTestClient(t, s.config())
	keys := c.usableKeys([]json.RawMessage{raw}, Filter{})
	if len(keys) == 0 {
		return nil, c.log.String()
	}
	return keys[0], c.log.String()
}

func TestPublicKeyForms(t *testing.T) {
	rsaKey, ecKey := testKeys()["rsa"].Public(), testKeys()["p-384"].Public()
	for _, test := range []struct {
		name, key string
		change    map[string]any
	}{
		{"RSA parameters", "rsa", nil},
		{"RSA parameters alone", "rsa", map[string]any{"publicKeyBytes": nil, "certificateBytes": nil}},
		{"RSA PKCS#1", "rsa", map[string]any{"rsaParameters": nil, "certificateBytes": nil}},
		{"RSA SPKI", "rsa", map[string]any{"rsaParameters": nil, "certificateBytes": nil, "publicKeyBytes": spki(t, rsaKey)}},
		{"RSA certificate", "rsa", map[string]any{"rsaParameters": nil, "publicKeyBytes": nil}},
		{"RSA modulus with a sign byte", "rsa", map[string]any{"rsaParameters": map[string]any{"publicExponent": "AQAB",
			"modulus": append([]byte{0}, rsaKey.(*rsa.PublicKey).N.Bytes()...)}}},
		{"EC SPKI", "p-384", map[string]any{"certificateBytes": nil}},
		{"EC point", "p-384", map[string]any{"certificateBytes": nil, "publicKeyBytes": point(t, ecKey)}},
		{"EC certificate", "p-384", map[string]any{"publicKeyBytes": nil}},
		{"EC certificate after garbage", "p-384", map[string]any{"publicKeyBytes": []byte("garbage")}},
		{"EC other case", "p-384", map[string]any{"keyType": "ECDSA"}},
		{"P-256 point", "p-256", map[string]any{"certificateBytes": nil, "publicKeyBytes": point(t, testKeys()["p-256"].Public())}},
		{"P-521 point", "p-521", map[string]any{"certificateBytes": nil, "publicKeyBytes": point(t, testKeys()["p-521"].Public())}},
	} {
		p := policyJSON(t, test.key)
		maps.Copy(p, test.change)
		key, log := readOne(t, p)
		if key == nil || !samePublicKey(key.Public(), testKeys()[test.key].Public()) {
			t.Errorf("%s: %v\n%s", test.name, key, log)
		}
	}
}

func TestUnusablePoliciesAreLeftOutWithOneLine(t *testing.T) {
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	for name, change := range map[string]map[string]any{
		"unknown key type":       {"keyType": "Mldsa"},
		"no key type":            {"keyType": nil},
		"certificate garbage":    {"certificateBytes": []byte("garbage")},
		"certificate not base64": {"certificateBytes": "%%"},
		"certificate of another": {"certificateBytes": testCertificate(t, "x", testKeys()["p-384"], nil, nil).Raw},
		"no key at all":          {"publicKeyBytes": nil, "certificateBytes": nil},
		"curve P-224":            {"publicKeyBytes": spki(t, &p224.PublicKey), "certificateBytes": nil, "keySizeInBits": 224},
		"point off the curve":    {"publicKeyBytes": append([]byte{4}, make([]byte, 64)...), "certificateBytes": nil},
		"size as text":           {"keySizeInBits": "256"},
		"no slug":                {"projectSlug": nil},
		"RSA key of 512 bits":    {"keyType": "Rsa", "rsaParameters": map[string]any{"publicExponent": "AQAB", "modulus": make([]byte, 64)}},
		"RSA exponent 2":         {"keyType": "Rsa", "rsaParameters": map[string]any{"publicExponent": "Ag==", "modulus": testKeys()["rsa"].Public().(*rsa.PublicKey).N.Bytes()}},
		"RSA exponent too large": {"keyType": "Rsa", "rsaParameters": map[string]any{"publicExponent": make33(), "modulus": testKeys()["rsa"].Public().(*rsa.PublicKey).N.Bytes()}},
	} {
		p := policyJSON(t, "p-256")
		maps.Copy(p, change)
		key, log := readOne(t, p)
		if key != nil || strings.Count(log, "\n") != 1 || !strings.Contains(log, "/p-256") {
			t.Errorf("%s: %v, log:\n%s", name, key, log)
		}
	}
}

func make33() []byte {
	b := make([]byte, 33)
	b[0] = 1
	return b
}

func TestGPGKeys(t *testing.T) {
	for name, change := range map[string]map[string]any{
		"by type":     {"certificateType": "Gpg", "certificateBytes": nil},
		"other case":  {"certificateType": "GPG", "certificateBytes": ""},
		"by absence":  {"certificateType": nil, "certificateBytes": nil},
		"with a file": {"certificateType": "Gpg", "certificateBytes": []byte("an OpenPGP key")},
	} {
		p := policyJSON(t, "rsa")
		maps.Copy(p, change)
		key, log := readOne(t, p)
		if key == nil || !key.IsGPG() || key.Certificate() != nil {
			t.Errorf("%s: %+v\n%s", name, key, log)
		}
	}
	p := policyJSON(t, "rsa")
	p["certificateBytes"] = nil
	if key, _ := readOne(t, p); key == nil || key.IsGPG() || key.Certificate() != nil {
		t.Errorf("X509 without a certificate: %+v", key)
	}
}

func TestPoliciesRequestAndOrder(t *testing.T) {
	s := newService(t, true)
	var query string
	s.handle("GET", "Cryptoki/MySigningPolicies", func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		broken := policyJSON(t, "p-521")
		broken["keyType"] = "Mldsa"
		writeJSON(w, map[string]any{"signingPolicies": []any{policyJSON(t, "rsa"), broken, 7, policyJSON(t, "p-256"), policyJSON(t, "p-256")}})
	})
	c := newTestClient(t, s.config())
	for _, test := range []struct {
		filter Filter
		query  string
		want   string
	}{
		{Filter{}, "", "demo/p-256 demo/rsa"},
		{Filter{ProjectSlug: "demo"}, "projectSlug=demo", "demo/p-256 demo/rsa"},
		{Filter{ProjectSlug: "other & more"}, "projectSlug=other+%26+more", ""},
		{Filter{"demo", "rsa"}, "projectSlug=demo&signingPolicySlug=rsa", "demo/rsa"},
		{Filter{"Demo", "RSA"}, "projectSlug=Demo&signingPolicySlug=RSA", "demo/rsa"},
		{Filter{"", "rsa"}, "", "demo/rsa"},
	} {
		keys, err := c.Policies(t.Context(), test.filter)
		var ids []string
		for _, k := range keys {
			ids = append(ids, k.ID())
		}
		if err != nil || query != test.query || strings.Join(ids, " ") != test.want {
			t.Errorf("%+v: query %s, keys %v, %v", test.filter, query, ids, err)
		}
	}
	wantInLog(t, c, "policy=demo/p-521", "listed twice")
	key, _ := c.Policies(t.Context(), Filter{"demo", "rsa"})
	if k := key[0]; k.ProjectSlug() != "demo" || k.PolicySlug() != "rsa" || k.PolicyID() != "id-rsa" || k.Certificate() == nil || k.IsGPG() || k.Stale() {
		t.Errorf("%+v", k)
	}
}

func TestPoliciesThatAreNoList(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:                                   "the answer has no signingPolicies",
		`[]`:                                   "not the JSON that was expected",
		`{"signingPolicies":7}`:                "not the JSON that was expected",
		`{"signingPolicies":[{"a":1},{]}`:      "not the JSON that was expected",
		``:                                     "not the JSON that was expected",
		"\xff\xfe\x00\x01":                     "not the JSON that was expected: 4 bytes that are no text",
		`{"signingPolicies":[]}`:               "",
		"\xef\xbb\xbf{\"SigningPolicies\":[]}": "",
	} {
		s := newService(t, true)
		s.handle("GET", "Cryptoki/MySigningPolicies", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
		_, err := newTestClient(t, s.config()).Policies(t.Context(), Filter{})
		var e *Error
		if want == "" && err != nil || want != "" && (!errors.As(err, &e) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func FuzzPolicies(f *testing.F) {
	for name := range testKeys() {
		raw, _ := json.Marshal(map[string]any{"signingPolicies": []any{policyJSON(f, name)}})
		f.Add(raw)
	}
	f.Add([]byte(`{"signingPolicies":[{"projectSlug":"a","signingPolicySlug":"b","keyType":"Rsa","rsaParameters":{"modulus":"AQ==","publicExponent":"Aw=="}}]}`))
	f.Add([]byte(`{"signingPolicies":[null,{},[],"x",{"keyType":"Ecdsa","keySizeInBits":256,"publicKeyBytes":"BA=="}]}`))
	c := bareClient(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := c.readPolicies(call{}, &answer{200, http.Header{}, body})
		if err != nil {
			return
		}
		for _, key := range c.usableKeys(list, Filter{}) {
			if key.Public() == nil || key.ID() == "/" {
				t.Errorf("unusable key %+v", key)
			}
			if c := key.Certificate(); c != nil && !samePublicKey(key.Public(), c.PublicKey) {
				t.Error("certificate of another key")
			}
			if _, err := plan(key.Public(), digest32, crypto.SHA256); err != nil {
				t.Error(fmt.Errorf("key cannot sign: %w", err))
			}
		}
	})
}
