package mockapi_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	_ "crypto/md5"
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// policyAnswer is one element of signingPolicies.
type policyAnswer struct {
	ProjectSlug, SigningPolicySlug, SigningPolicyID string
	KeyType, CertificateType                        string
	KeySizeInBits                                   int
	RSAParameters                                   *struct{ PublicExponent, Modulus []byte }
	PublicKeyBytes, CertificateBytes                []byte
}

func (x *target) policies(t *testing.T, query string) []policyAnswer {
	t.Helper()
	var answer struct{ SigningPolicies *[]policyAnswer }
	x.call(t, "GET", "/Cryptoki/MySigningPolicies"+query, "", nil).into(t, http.StatusOK, &answer)
	if answer.SigningPolicies == nil {
		t.Fatal("the answer has no signingPolicies")
	}
	return *answer.SigningPolicies
}

// projectPolicies are those the contract tests sign with; there must be one.
func (x *target) projectPolicies(t *testing.T) []policyAnswer {
	t.Helper()
	list := x.policies(t, "?projectSlug="+url.QueryEscape(x.project))
	if len(list) == 0 {
		t.Fatalf("the project %s has no policy to sign with", x.project)
	}
	return list
}

// public decodes the key: PKCS#1 for RSA, SubjectPublicKeyInfo for curves.
func (p policyAnswer) public(t *testing.T) crypto.PublicKey {
	t.Helper()
	var key any
	var err error
	if strings.EqualFold(p.KeyType, "Rsa") {
		key, err = x509.ParsePKCS1PublicKey(p.PublicKeyBytes)
	} else {
		key, err = x509.ParsePKIXPublicKey(p.PublicKeyBytes)
	}
	if err != nil {
		t.Fatalf("policy %s: publicKeyBytes: %v", p.SigningPolicySlug, err)
	}
	return key
}

func TestContractPoliciesDescribeTheirKeys(t *testing.T) {
	x := contractTarget(t)
	for _, p := range x.projectPolicies(t) {
		t.Run(p.SigningPolicySlug, func(t *testing.T) {
			if p.ProjectSlug != x.project || len(p.SigningPolicyID) != 36 {
				t.Errorf("project %q, id %q", p.ProjectSlug, p.SigningPolicyID)
			}
			switch key := p.public(t).(type) {
			case *rsa.PublicKey:
				if key.N.BitLen() != p.KeySizeInBits || new(big.Int).SetBytes(p.RSAParameters.Modulus).Cmp(key.N) != 0 ||
					p.RSAParameters.Modulus[0] == 0 || !bytes.Equal(p.RSAParameters.PublicExponent, []byte{1, 0, 1}) {
					t.Errorf("rsaParameters or keySizeInBits do not describe publicKeyBytes: %+v", p)
				}
			case *ecdsa.PublicKey:
				if key.Curve.Params().BitSize != p.KeySizeInBits {
					t.Errorf("keySizeInBits %d for a key on %s", p.KeySizeInBits, key.Curve.Params().Name)
				}
			}
			if (p.CertificateType == "Gpg") != (p.CertificateBytes == nil) {
				t.Errorf("certificateType %q with a certificate of %d bytes", p.CertificateType, len(p.CertificateBytes))
			}
		})
	}
}

func TestContractPolicyFilters(t *testing.T) {
	x := contractTarget(t)
	all := x.projectPolicies(t)
	one := x.policies(t, "?projectSlug="+x.project+"&signingPolicySlug="+all[0].SigningPolicySlug)
	if len(one) != 1 || one[0].SigningPolicyID != all[0].SigningPolicyID {
		t.Errorf("both slugs find %d policies, want %s", len(one), all[0].SigningPolicySlug)
	}
	if none := x.policies(t, "?projectSlug="+x.project+"&signingPolicySlug=no-such-policy"); len(none) != 0 {
		t.Errorf("an unknown slug finds %d policies", len(none))
	}
}

// request is one signature to ask for, whatever the generation.
type request struct {
	project, policy string
	algorithm       string // as in generations A and B
	hash            crypto.Hash
	oid, name       string // of the hash
	asn1            bool
	digest          []byte
}

var hashes = []request{
	{hash: crypto.SHA1, oid: "1.3.14.3.2.26", name: "Sha1"},
	{hash: crypto.SHA256, oid: "2.16.840.1.101.3.4.2.1", name: "Sha256"},
	{hash: crypto.SHA384, oid: "2.16.840.1.101.3.4.2.2", name: "Sha384"},
	{hash: crypto.SHA512, oid: "2.16.840.1.101.3.4.2.3", name: "Sha512"},
}

// requestsFor lists every kind of signature a key can make.
func requestsFor(p policyAnswer) []request {
	var out []request
	for _, r := range hashes {
		r.project, r.policy = p.ProjectSlug, p.SigningPolicySlug
		h := r.hash.New()
		h.Write([]byte("hello"))
		r.digest = h.Sum(nil)
		if strings.EqualFold(p.KeyType, "Rsa") {
			for _, r.algorithm = range []string{"RsaPkcs1", "RsaPss"} {
				out = append(out, r)
			}
		} else if map[int]crypto.Hash{256: crypto.SHA256, 384: crypto.SHA384, 521: crypto.SHA512}[p.KeySizeInBits] == r.hash {
			r.algorithm = "Ecdsa"
			for _, r.asn1 = range []bool{false, true} {
				out = append(out, r)
			}
		}
	}
	return out
}

func (r request) String() string {
	return fmt.Sprintf("%s-%s-%v", r.algorithm, r.name, map[bool]string{true: "Asn1", false: "Ieee"}[r.asn1])
}

func (r request) format() string { return map[bool]string{true: "Asn1", false: "Ieee"}[r.asn1] }

// artifact is the JSON of generations A and B.
func (r request) artifact() map[string]any {
	a := map[string]any{
		"SignatureAlgorithm": r.algorithm, "Base64EncodedHash": base64.StdEncoding.EncodeToString(r.digest),
		"Metadata": map[string]any{"CreatingProcess": map[string]any{"CommandLine": "contract test", "User": "tester"}},
	}
	if r.algorithm == "Ecdsa" {
		a["EcdsaSignatureFormat"] = r.format()
	} else {
		a["RsaHashAlgorithm"] = r.oid
	}
	return a
}

// signHash is the JSON of generation C.
func (r request) signHash() map[string]any {
	data := map[string]any{"hash": r.digest, "signatureAlgorithm": "Ecdsa", "ecdsaOptions": map[string]any{"signatureFormat": r.format()}}
	if r.algorithm != "Ecdsa" {
		padding := strings.TrimPrefix(r.algorithm, "Rsa")
		data = map[string]any{"hash": r.digest, "signatureAlgorithm": "Rsa", "rsaOptions": map[string]any{"hashAlgorithmName": r.name, "paddingMode": padding}}
	}
	data["metadata"] = map[string]any{"sourceProcess": map[string]any{"commandLine": "contract test", "user": "tester"}}
	return map[string]any{"projectSlug": r.project, "signingPolicySlug": r.policy, "description": "contract test", "hashSigningData": data}
}

// verify reports whether a signature is right, independently of the service.
func (r request) verify(key crypto.PublicKey, sig []byte) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if r.algorithm == "RsaPss" {
			return rsa.VerifyPSS(k, r.hash, r.digest, sig, &rsa.PSSOptions{SaltLength: r.hash.Size()}) == nil
		}
		return rsa.VerifyPKCS1v15(k, r.hash, r.digest, sig) == nil
	case *ecdsa.PublicKey:
		if r.asn1 {
			return ecdsa.VerifyASN1(k, r.digest, sig)
		}
		size := (k.Curve.Params().BitSize + 7) / 8
		return len(sig) == 2*size && ecdsa.Verify(k, r.digest, new(big.Int).SetBytes(sig[:size]), new(big.Int).SetBytes(sig[size:]))
	}
	return false
}

// submit asks generation A or B by multipart.
func (x *target) submit(t *testing.T, route string, r request, fast string) reply {
	t.Helper()
	contentType, body := form(t, marshal(t, r.artifact()), "ProjectSlug", r.project, "signingPolicySlug", r.policy, "IsFastSigningRequest", fast)
	return x.call(t, "POST", route, contentType, body)
}

const (
	routeA = "/SigningRequests"
	routeB = "/SigningRequests/SubmitWithArtifact"
	routeC = "/SigningRequests/SignHash"
)

func TestContractEveryGenerationSignsWithEveryKey(t *testing.T) {
	x := contractTarget(t)
	for _, p := range x.projectPolicies(t) {
		key := p.public(t)
		for _, r := range requestsFor(p) {
			for _, route := range []string{routeA, routeB} {
				t.Run(p.SigningPolicySlug+"/"+r.String()+route, func(t *testing.T) {
					var answer map[string]any
					x.submit(t, route, r, "true").into(t, http.StatusOK, &answer)
					sig, err := base64.StdEncoding.DecodeString(fmt.Sprint(answer["Signature"]))
					if err != nil || !r.verify(key, sig) {
						t.Errorf("the signature does not verify: %v", answer)
					}
					for name, sent := range r.artifact() {
						if _, ok := sent.(string); ok && answer[name] != sent {
							t.Errorf("the signed artifact has %s %v, sent was %v", name, answer[name], sent)
						}
					}
				})
			}
			t.Run(p.SigningPolicySlug+"/"+r.String()+routeC, func(t *testing.T) { x.checkSignHash(t, r, key) })
		}
	}
}

func (x *target) checkSignHash(t *testing.T, r request, key crypto.PublicKey) {
	t.Helper()
	var answer struct {
		SigningRequestID, WebLink string
		HashSigningData           struct{ Hash []byte }
		HashSigningResult         struct{ Signature []byte }
	}
	x.call(t, "POST", routeC, "application/json", marshal(t, r.signHash())).into(t, http.StatusOK, &answer)
	if !r.verify(key, answer.HashSigningResult.Signature) {
		t.Errorf("the signature does not verify: %+v", answer)
	}
	if !bytes.Equal(answer.HashSigningData.Hash, r.digest) || len(answer.SigningRequestID) != 36 || !strings.Contains(answer.WebLink, answer.SigningRequestID) {
		t.Errorf("hash, signingRequestId or webLink is not as it should be: %+v", answer)
	}
}

func TestContractRegularRequestIsPolled(t *testing.T) {
	x := contractTarget(t)
	p := x.projectPolicies(t)[0]
	r := requestsFor(p)[0]
	queued := x.submit(t, routeB, r, "false")
	var created struct{ SigningRequestID string }
	queued.into(t, http.StatusCreated, &created)
	location := queued.header.Get("Location")
	if !strings.HasSuffix(location, "/SigningRequests/"+created.SigningRequestID) {
		t.Fatalf("Location %q for request %q", location, created.SigningRequestID)
	}
	var state struct {
		Status, WorkflowStatus string
		IsFinalStatus          bool
	}
	for deadline := time.Now().Add(5 * time.Minute); !state.IsFinalStatus; {
		if time.Now().After(deadline) {
			t.Fatalf("the request is still %s", state.Status)
		}
		x.send(t, x.token, "GET", location+"/Status", "", nil).into(t, http.StatusOK, &state)
	}
	if state.Status != "Completed" || state.WorkflowStatus != "Completed" {
		t.Fatalf("the request ended as %+v", state)
	}
	var artifact struct{ Signature []byte }
	x.send(t, x.token, "GET", location+"/SignedArtifact", "", nil).into(t, http.StatusOK, &artifact)
	if !r.verify(p.public(t), artifact.Signature) {
		t.Errorf("the signature in the signed artifact does not verify")
	}
}

func TestContractCertificateDownloads(t *testing.T) {
	x := contractTarget(t)
	for _, p := range x.projectPolicies(t) {
		t.Run(p.SigningPolicySlug, func(t *testing.T) {
			base := "/Projects/" + p.ProjectSlug + "/SigningPolicies/" + p.SigningPolicySlug
			for _, path := range []string{base, base + "/Certificate"} {
				var details map[string]any
				x.call(t, "GET", path, "", nil).into(t, http.StatusOK, &details)
			}
			if p.CertificateType == "Gpg" {
				x.checkGPGKey(t, base, p.public(t))
				x.call(t, "GET", base+"/Certificate/X509Certificate", "", nil).wantProblem(t, http.StatusNotFound)
				return
			}
			x.call(t, "GET", base+"/Certificate/GpgPublicKey", "", nil).wantProblem(t, http.StatusNotFound)
			r := x.call(t, "GET", base+"/Certificate/X509Certificate", "", nil)
			cert, err := x509.ParseCertificate(r.body)
			if r.status != http.StatusOK || err != nil || !bytes.Equal(cert.Raw, p.CertificateBytes) {
				t.Errorf("X509Certificate: status %d, %v, and it must be the one in the list", r.status, err)
			}
		})
	}
}

func (x *target) checkGPGKey(t *testing.T, base string, key crypto.PublicKey) {
	t.Helper()
	r := x.call(t, "GET", base+"/Certificate/GpgPublicKey", "", nil)
	if r.status != http.StatusOK {
		t.Fatalf("GpgPublicKey: %d: %s", r.status, r.body)
	}
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(r.body, []byte("-----BEGIN")) {
		read = openpgp.ReadArmoredKeyRing
	}
	ring, err := read(bytes.NewReader(r.body))
	if err != nil || len(ring) != 1 {
		t.Fatalf("GpgPublicKey: %d keys, %v", len(ring), err)
	}
	if k, ok := key.(*rsa.PublicKey); ok && ring[0].PrimaryKey.PublicKey.(*rsa.PublicKey).N.Cmp(k.N) != 0 {
		t.Error("the OpenPGP key is not the policy's key")
	}
	if identity := ring[0].PrimaryIdentity(); identity == nil || identity.SelfSignature == nil {
		t.Error("the OpenPGP key has no self-signed user id")
	}
}

func TestContractInvalidRequests(t *testing.T) {
	x := contractTarget(t)
	p := x.projectPolicies(t)[0]
	valid := requestsFor(p)[0]
	unknown := valid
	unknown.policy = "no-such-policy"
	long := valid
	long.digest = append(bytes.Clone(valid.digest), 0)
	badBase64, badAlgorithm := valid.artifact(), valid.artifact()
	badBase64["Base64EncodedHash"] = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmC*="
	badAlgorithm["SignatureAlgorithm"] = "RsaOaep"
	for _, test := range []struct {
		name     string
		artifact map[string]any
		policy   string
		extra    []string
		field    string
	}{
		{"unknown policy", unknown.artifact(), unknown.policy, nil, "SigningPolicySlug"},
		{"digest of another length", long.artifact(), p.SigningPolicySlug, nil, ""},
		{"not base64", badBase64, p.SigningPolicySlug, nil, ""},
		{"unknown algorithm", badAlgorithm, p.SigningPolicySlug, nil, ""},
		{"unknown field", valid.artifact(), p.SigningPolicySlug, []string{"NoSuchField", "x"}, "NoSuchField"},
	} {
		for _, route := range []string{routeA, routeB} {
			t.Run(test.name+route, func(t *testing.T) {
				fields := append([]string{"ProjectSlug", x.project, "SigningPolicySlug", test.policy, "IsFastSigningRequest", "true"}, test.extra...)
				contentType, body := form(t, marshal(t, test.artifact), fields...)
				x.call(t, "POST", route, contentType, body).wantProblem(t, http.StatusBadRequest, test.field)
			})
		}
	}
	for name, r := range map[string]request{"SigningPolicySlug": unknown, "": long} {
		t.Run("field "+name+routeC, func(t *testing.T) {
			x.call(t, "POST", routeC, "application/json", marshal(t, r.signHash())).wantProblem(t, http.StatusBadRequest, name)
		})
	}
}
