package mockapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"signkit/internal/mockapi"
)

// fastConfig is the built-in configuration with its elliptic curve policies only, so that nobody waits for RSA keys.
func fastConfig() *mockapi.Config {
	cfg := mockapi.DefaultConfig()
	project := &cfg.Organizations[0].Projects[0]
	project.Policies = []mockapi.Policy{{Slug: "p-256", Submitters: []string{"ci"}}, {Slug: "p-384", Submitters: []string{"ci"}}, {Slug: "p-521", Submitters: []string{"ci"}}}
	return cfg
}

// first is the service as its first user sees it.
func first(t *testing.T, s *mockapi.Server) *target {
	t.Helper()
	return &target{s.APIURL(), s.OrganizationID(), "demo", s.Token(), clientFor(t, s)}
}

// hello is a request that the policy p-256 can sign.
func hello(policy string) request {
	r := requestsFor(policyAnswer{ProjectSlug: "demo", SigningPolicySlug: policy, KeyType: "Ecdsa", KeySizeInBits: 256})[0]
	return r
}

func TestSwitchedOffGenerationsAnswerAsOlderServices(t *testing.T) {
	cfg := fastConfig()
	cfg.Generations.SignHash = mockapi.Generation{Off: true}
	cfg.Generations.SubmitWithArtifact = mockapi.Generation{Off: true, Status: 405}
	cfg.Generations.SigningRequests = mockapi.Generation{Off: true, Status: 415}
	x := first(t, start(t, cfg))
	x.call(t, "POST", routeC, "application/json", marshal(t, hello("p-256").signHash())).wantProblem(t, 404)
	x.submit(t, routeB, hello("p-256"), "true").wantProblem(t, 405)
	x.submit(t, routeA, hello("p-256"), "true").wantProblem(t, 415)
}

func TestMovedContractNamesHashSigningData(t *testing.T) {
	cfg := fastConfig()
	cfg.Generations.SignHash = mockapi.Generation{Off: true, Status: 400}
	x := first(t, start(t, cfg))
	x.call(t, "POST", routeC, "application/json", marshal(t, hello("p-256").signHash())).wantProblem(t, 400, "hashSigningData")
}

func TestQueuedRequestsNeedPolling(t *testing.T) {
	cfg := fastConfig()
	cfg.QueuePolls = 2
	cfg.Generations.SignHash.Queued = true
	cfg.Organizations[0].Projects[0].Policies[0].Queued = true
	x := first(t, start(t, cfg))
	key := x.policies(t, "?signingPolicySlug=p-256")[0].public(t)
	for name, queued := range map[string]reply{
		"by generation": x.call(t, "POST", routeC, "application/json", marshal(t, hello("p-256").signHash())),
		"by policy":     x.submit(t, routeA, hello("p-256"), "true"),
	} {
		t.Run(name, func(t *testing.T) {
			if queued.status != http.StatusCreated || bytes.Contains(queued.body, []byte("ignature\"")) {
				t.Fatalf("want 201 without a signature, got %d: %s", queued.status, queued.body)
			}
			at := queued.header.Get("Location")
			for _, want := range []string{"InProgress", "InProgress", "Completed"} {
				if want == "InProgress" {
					x.send(t, x.token, "GET", at+"/SignedArtifact", "", nil).wantProblem(t, 400)
				}
				var state struct{ Status string }
				x.send(t, x.token, "GET", at+"/Status", "", nil).into(t, 200, &state)
				if state.Status != want {
					t.Fatalf("status %q, want %q", state.Status, want)
				}
			}
			var artifact struct{ Signature []byte }
			x.send(t, x.token, "GET", at+"/SignedArtifact", "", nil).into(t, 200, &artifact)
			if !hello("p-256").verify(key, artifact.Signature) {
				t.Error("the signature in the signed artifact does not verify")
			}
		})
	}
}

func TestCanceledRequestStaysCanceled(t *testing.T) {
	cfg := fastConfig()
	cfg.QueuePolls = 100
	x := first(t, start(t, cfg))
	at := x.submit(t, routeB, hello("p-256"), "false").header.Get("Location")
	if r := x.send(t, x.token, "POST", at+"/Cancel", "", nil); r.status != 200 {
		t.Fatalf("Cancel: %d: %s", r.status, r.body)
	}
	var state struct {
		Status        string
		IsFinalStatus bool
	}
	x.send(t, x.token, "GET", at, "", nil).into(t, 200, &state)
	if state.Status != "Canceled" || !state.IsFinalStatus {
		t.Errorf("state after Cancel: %+v", state)
	}
	x.send(t, x.token, "POST", at+"/Cancel", "", nil).wantProblem(t, 400)
	x.send(t, x.token, "GET", at+"/SignedArtifact", "", nil).wantProblem(t, 400)
}

func TestSecondUserMaySubmitToNothing(t *testing.T) {
	s, client := shared(t)
	x := &target{s.APIURL(), s.OrganizationID(), "demo", s.SecondToken(), client}
	if list := x.policies(t, ""); len(list) != 0 {
		t.Errorf("the second user sees %d policies", len(list))
	}
	x.call(t, "POST", routeC, "application/json", marshal(t, hello("p-256").signHash())).wantProblem(t, 403)
	x.submit(t, routeA, hello("p-256"), "true").wantProblem(t, 403)
	for _, path := range []string{"/Certificates", "/Certificates/p-256", "/Projects/demo/SigningPolicies/p-256", "/Projects/demo/SigningPolicies/p-256/Certificate/X509Certificate"} {
		x.call(t, "GET", path, "", nil).wantProblem(t, 403)
	}
}

func TestTokenOfAnotherOrganizationIsForbidden(t *testing.T) {
	cfg := fastConfig()
	cfg.Organizations = append(cfg.Organizations, mockapi.Organization{
		Name: "other", ID: "11111111-2222-4333-8444-555555555555", Users: []mockapi.User{{Name: "ci", Token: "other-token"}},
	})
	x := first(t, start(t, cfg))
	x.organization = "11111111-2222-4333-8444-555555555555"
	x.call(t, "GET", "/Cryptoki/MySigningPolicies", "", nil).wantProblem(t, 403)
	x.token = "other-token"
	if list := x.policies(t, ""); len(list) != 0 {
		t.Errorf("an organization without policies lists %d", len(list))
	}
	x.organization = "00000000-0000-0000-0000-000000000000"
	x.call(t, "GET", "/Cryptoki/MySigningPolicies", "", nil).wantProblem(t, 400)
}

func TestPoliciesThatCannotSignHashes(t *testing.T) {
	cfg := fastConfig()
	projects := &cfg.Organizations[0].Projects
	(*projects)[0].Policies[0].Approval = true
	*projects = append(*projects, mockapi.Project{
		Slug: "files", Policies: []mockapi.Policy{{Slug: "p-256", Submitters: []string{"ci"}}},
		ArtifactConfigurations: []mockapi.ArtifactConfiguration{{Slug: "zip", Type: "Zip"}, {Slug: "hash", Type: "HashSigningData"}},
	})
	x := first(t, start(t, cfg))
	x.submit(t, routeA, hello("p-256"), "true").wantProblem(t, 400, "SigningPolicyId")
	body := hello("p-256").signHash()
	body["projectSlug"] = "files"
	x.call(t, "POST", routeC, "application/json", marshal(t, body)).wantProblem(t, 400, "")
	body["artifactConfigurationSlug"] = "hash"
	if r := x.call(t, "POST", routeC, "application/json", marshal(t, body)); r.status != 200 {
		t.Errorf("with a fitting artifact configuration: %d: %s", r.status, r.body)
	}
	body["artifactConfigurationSlug"] = "none"
	x.call(t, "POST", routeC, "application/json", marshal(t, body)).wantProblem(t, 400, "ArtifactConfigurationSlug")
}

func TestSlugsAreComparedExactly(t *testing.T) {
	s, _ := shared(t)
	x := first(t, s)
	for _, query := range []string{"?projectSlug=Demo", "?signingPolicySlug=P-256", "?projectSlug=dem", "?projectSlug="} {
		if list := x.policies(t, query); len(list) != 0 {
			t.Errorf("%s finds %d policies", query, len(list))
		}
	}
	x.submit(t, routeA, hello("P-256"), "true").wantProblem(t, 400, "SigningPolicySlug")
}

func TestDigestsOfCurvesHaveTheirLength(t *testing.T) {
	s, _ := shared(t)
	x := first(t, s)
	for policy, allowed := range map[string][]int{"p-256": {32}, "p-384": {48}, "p-521": {64, 66}} {
		for _, length := range []int{0, 20, 32, 48, 64, 66, 67} {
			r := hello(policy)
			r.digest = bytes.Repeat([]byte{7}, length)
			want := 400
			for _, l := range allowed {
				if l == length {
					want = 200
				}
			}
			if got := x.call(t, "POST", routeC, "application/json", marshal(t, r.signHash())); got.status != want {
				t.Errorf("%s, %d bytes: %d, want %d", policy, length, got.status, want)
			}
		}
	}
}

func TestMD5IsForMultipartOnly(t *testing.T) {
	s, _ := shared(t)
	x := first(t, s)
	p := x.policies(t, "?signingPolicySlug=rsa-2048")[0]
	r := request{project: "demo", policy: "rsa-2048", algorithm: "RsaPkcs1", hash: 2 /* MD5 */, oid: "1.2.840.113549.2.5", name: "Md5", digest: make([]byte, 16)}
	var answer struct{ Signature []byte }
	x.submit(t, routeA, r, "true").into(t, 200, &answer)
	if !r.verify(p.public(t), answer.Signature) {
		t.Error("the signature does not verify")
	}
	body := r.signHash()
	x.call(t, "POST", routeC, "application/json", marshal(t, body)).wantProblem(t, 400, "")
	body["hashSigningData"].(map[string]any)["rsaOptions"] = map[string]any{"hashAlgorithmOid": r.oid}
	x.call(t, "POST", routeC, "application/json", marshal(t, body)).wantProblem(t, 400, "")
}

func TestSignHashTakesOIDsAndDefaults(t *testing.T) {
	s, _ := shared(t)
	x := first(t, s)
	p := x.policies(t, "?signingPolicySlug=rsa-2048")[0]
	r := requestsFor(p)[2] // RsaPkcs1 with SHA-256
	body := r.signHash()
	body["hashSigningData"].(map[string]any)["rsaOptions"] = map[string]any{"hashAlgorithmOid": r.oid}
	var answer struct{ HashSigningResult struct{ Signature []byte } }
	x.call(t, "POST", routeC, "application/json", marshal(t, body)).into(t, 200, &answer)
	if r.algorithm != "RsaPkcs1" || !r.verify(p.public(t), answer.HashSigningResult.Signature) {
		t.Error("the default padding is not PKCS#1")
	}
}

func TestUnreadableBodies(t *testing.T) {
	s, _ := shared(t)
	x := first(t, s)
	huge := bytes.Repeat([]byte(" "), 1<<20+1)
	x.call(t, "POST", routeC, "application/json", huge).wantProblem(t, 413)
	contentType, body := form(t, huge, "ProjectSlug", "demo")
	x.call(t, "POST", routeA, contentType, body).wantProblem(t, 413)
	x.call(t, "POST", routeC, "text/plain", []byte("{}")).wantProblem(t, 415)
	x.call(t, "POST", routeB, "application/json", []byte("{}")).wantProblem(t, 415)
	x.call(t, "POST", routeC, "application/json", []byte(`{"projectSlug":`)).wantProblem(t, 400)
	x.call(t, "POST", routeC, "application/json", []byte(`{"projectSlug":"demo","signingPolicySlug":"p-256"}`)).wantProblem(t, 400, "HashSigningData")
	x.call(t, "DELETE", routeC, "", nil).wantProblem(t, 405)
	for field, fields := range map[string][]string{
		"ProjectSlug":                  {"SigningPolicySlug", "p-256"},
		"Artifact":                     {"ProjectSlug", "demo", "SigningPolicySlug", "p-256"},
		"CancellationTimeoutInSeconds": {"ProjectSlug", "demo", "SigningPolicySlug", "p-256", "CancellationTimeoutInSeconds", "soon"},
		"PROJECTSLUG":                  {"ProjectSlug", "demo", "PROJECTSLUG", "demo"},
	} {
		contentType, body := form(t, nil, fields...)
		x.call(t, "POST", routeA, contentType, body).wantProblem(t, 400, field)
	}
}

func TestFieldNamesIgnoreCaseAndParametersAreTaken(t *testing.T) {
	s, _ := shared(t)
	x := first(t, s)
	contentType, body := form(t, marshal(t, hello("p-256").artifact()),
		"PROJECTSLUG", "demo", "signingpolicyslug", "p-256", "isFastSigningRequest", "True", "Parameters.version", "1.0", "description", "x")
	if r := x.call(t, "POST", routeA, contentType, body); r.status != 200 {
		t.Errorf("%d: %s", r.status, r.body)
	}
}

func TestPlainErrorStyle(t *testing.T) {
	cfg := fastConfig()
	cfg.ErrorStyle = "plain"
	x := first(t, start(t, cfg))
	r := x.submit(t, routeA, hello("no-such"), "true")
	if r.status != 400 || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain") || !strings.Contains(string(r.body), "no-such") {
		t.Errorf("%d %s: %s", r.status, r.header.Get("Content-Type"), r.body)
	}
}

func TestExtraPoliciesShareOneKey(t *testing.T) {
	cfg := fastConfig()
	cfg.Organizations[0].Projects[0].ExtraPolicies = 500
	x := first(t, start(t, cfg))
	if n := len(x.policies(t, "")); n != 503 {
		t.Errorf("%d policies, want 503", n)
	}
	one, last := x.policies(t, "?signingPolicySlug=extra-00001"), x.policies(t, "?signingPolicySlug=extra-00500")
	if len(one) != 1 || len(last) != 1 || !bytes.Equal(one[0].PublicKeyBytes, last[0].PublicKeyBytes) || one[0].SigningPolicyID == last[0].SigningPolicyID {
		t.Errorf("extra policies: %+v and %+v", one, last)
	}
	if r := x.submit(t, routeA, hello("extra-00500"), "true"); r.status != 200 {
		t.Errorf("signing with an extra policy: %d: %s", r.status, r.body)
	}
}

func TestAuditLogTellsTheSignatureAndNotTheToken(t *testing.T) {
	s := start(t, fastConfig())
	x := first(t, s)
	for _, r := range []reply{
		x.call(t, "POST", routeC, "application/json", marshal(t, hello("p-256").signHash())),
		x.submit(t, routeA, hello("p-256"), "true"),
		x.submit(t, routeA, hello("no-such-policy"), "true"), // no signature, so no entry
	} {
		_ = r
	}
	data, err := os.ReadFile(s.AuditFile())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d entries, want 2:\n%s", len(lines), data)
	}
	for _, line := range lines {
		var entry struct {
			User, Project, Policy, Algorithm, Hash, SigningRequestID, Time string
			Metadata                                                       json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry.User != "ci" || entry.Project != "demo" || entry.Policy != "p-256" || entry.Algorithm != "Ecdsa" || entry.Time == "" ||
			len(entry.SigningRequestID) != 36 || entry.Hash != base64.StdEncoding.EncodeToString(hello("p-256").digest) || !bytes.Contains(entry.Metadata, []byte("contract test")) {
			t.Errorf("entry: %s", line)
		}
	}
	if strings.Contains(string(data), s.Token()) {
		t.Error("the audit log holds the token")
	}
}
