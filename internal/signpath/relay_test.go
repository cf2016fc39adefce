package signpath

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"testing"
)

// TestSignCallsAreReadAsTheyAreWritten: an agent signs what its client was asked for.
func TestSignCallsAreReadAsTheyAreWritten(t *testing.T) {
	short, long := sha256.Sum256([]byte("hello")), sha512.Sum512([]byte("hello"))
	c := agentClient(t, agentSocket(t))
	for name, want := range map[string]struct {
		request signRequest
		options string
	}{
		"PKCS#1": {signRequest{scheme: rsaPKCS1, hash: crypto.SHA256, sent: short[:]}, "SHA-256"},
		"PSS":    {signRequest{scheme: rsaPSS, hash: crypto.SHA512, sent: long[:]}, "&{-1 SHA-512}"},
		"ECDSA":  {signRequest{scheme: ecdsaScheme, sent: short[:]}, ""},
	} {
		_, body, err := c.signHashBody(&Key{project: "demo", policy: "key"}, &want.request)
		if err != nil {
			t.Fatal(err)
		}
		call, err := ReadSignCall(body)
		if err != nil || call.Project != "demo" || call.Policy != "key" || !bytes.Equal(call.Digest, want.request.sent) {
			t.Errorf("%s: %+v, %v", name, call, err)
			continue
		}
		if ecdsa, ok := call.Options.(ECDSAOptions); ok && ecdsa.Format == P1363 && want.options == "" {
			continue
		}
		if got := fmt.Sprint(call.Options); got != want.options {
			t.Errorf("%s: %s, want %s", name, got, want.options)
		}
	}
}

// FuzzReadSignCall: whatever a program sends, what is read is a key's name, a digest and one of the known ways to sign.
func FuzzReadSignCall(f *testing.F) {
	f.Add([]byte(`{"projectSlug":"demo","signingPolicySlug":"p","hashSigningData":{"signatureAlgorithm":"Rsa","rsaOptions":{"hashAlgorithmName":"Sha256","paddingMode":"Pss"},"hash":"AAAA"}}`))
	f.Add([]byte(`{"hashSigningData":{"signatureAlgorithm":"Ecdsa","ecdsaOptions":{"signatureFormat":"Ieee"}}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		call, err := ReadSignCall(body)
		if err != nil {
			return
		}
		if call.Options == nil {
			t.Errorf("%q: no options", body)
		}
		answer, err := call.Answer(&Signed{Signature: []byte{1}})
		if err != nil || !json.Valid(answer) {
			t.Errorf("%q: the answer is %q, %v", body, answer, err)
		}
	})
}
