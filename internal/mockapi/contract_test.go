package mockapi_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The contract tests speak raw HTTP. Without flags they run against the mock
// service, with all four against a real one: there they need a project whose
// default artifact configuration is hash signing, and make real signatures.
var (
	contractURL          = flag.String("contract-url", "", "API `URL` of a real service for the contract tests, as https://HOST/Api")
	contractTokenFile    = flag.String("contract-token-file", "", "`FILE` with the API token of a submitter")
	contractOrganization = flag.String("contract-organization", "", "organization `UUID`")
	contractProject      = flag.String("contract-project", "", "project `SLUG`")
)

// target is the service under test.
type target struct {
	url, organization, project, token string
	client                            *http.Client
}

func contractTarget(t *testing.T) *target {
	t.Helper()
	if *contractURL == "" {
		s, client := shared(t)
		return &target{s.APIURL(), s.OrganizationID(), "demo", s.Token(), client}
	}
	token, err := os.ReadFile(*contractTokenFile)
	if err != nil {
		t.Fatalf("-contract-token-file: %v", err)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &target{
		strings.TrimSuffix(*contractURL, "/"), *contractOrganization, *contractProject,
		strings.TrimSpace(string(token)), &http.Client{Transport: transport, Timeout: time.Minute},
	}
}

// reply is an answer with its body read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// call sends a request with the token; paths begin below the organization.
func (x *target) call(t *testing.T, method, path, contentType string, body []byte) reply {
	t.Helper()
	return x.send(t, x.token, method, x.url+"/v1/"+x.organization+path, contentType, body)
}

func (x *target) send(t *testing.T, token, method, url, contentType string, body []byte) reply {
	t.Helper()
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	answer, err := x.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return reply{answer.StatusCode, answer.Header, data}
}

// into wants a status and decodes the JSON body.
func (r reply) into(t *testing.T, status int, v any) {
	t.Helper()
	if r.status != status {
		t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("body is not the JSON expected here: %v: %s", err, r.body)
	}
}

var traceForm = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// wantProblem checks an error answer; field is a key of errors that must be there.
func (r reply) wantProblem(t *testing.T, status int, field ...string) {
	t.Helper()
	if contentType := r.header.Get("Content-Type"); !strings.HasPrefix(contentType, "application/problem+json") {
		t.Errorf("Content-Type %q, want application/problem+json", contentType)
	}
	var p struct {
		Type, Title, TraceID string
		Status               int
		Errors               map[string][]string
	}
	r.into(t, status, &p)
	if p.Type == "" || p.Title == "" || p.Status != status || !traceForm.MatchString(p.TraceID) {
		t.Errorf("type, title, status or traceId is not as it should be: %s", r.body)
	}
	for _, f := range field {
		if len(p.Errors[f]) == 0 || p.Errors[f][0] == "" {
			t.Errorf("errors has no text for %q: %s", f, r.body)
		}
	}
}

// form makes the body of generations A and B. Fields are in pairs; no artifact where it is nil.
func form(t *testing.T, artifact []byte, fields ...string) (string, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i+1 < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if artifact != nil {
		part, err := w.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {`form-data; name="Artifact"; filename="payload.json"`},
			"Content-Type":        {"application/json"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(artifact); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestContractHealthNeedsNoToken(t *testing.T) {
	x := contractTarget(t)
	if r := x.send(t, "", "GET", x.url+"/healthz", "", nil); r.status != http.StatusOK {
		t.Errorf("healthz: %d: %s", r.status, r.body)
	}
	if r := x.send(t, "", "GET", x.url+"/v1/Meta/SystemInfo", "", nil); r.status != http.StatusOK {
		t.Errorf("SystemInfo: %d: %s", r.status, r.body)
	}
}

func TestContractAPISegmentIgnoresCase(t *testing.T) {
	x := contractTarget(t)
	base := regexp.MustCompile(`(?i)/api$`).ReplaceAllString(x.url, "")
	for _, segment := range []string{"api", "API", "Api"} {
		if r := x.send(t, "", "GET", base+"/"+segment+"/healthz", "", nil); r.status != http.StatusOK {
			t.Errorf("/%s/healthz: %d", segment, r.status)
		}
	}
}

func TestContractRefusals(t *testing.T) {
	x := contractTarget(t)
	policies := "/Cryptoki/MySigningPolicies"
	for _, test := range []struct {
		name, token, organization, path string
		status                          int
	}{
		{"no token", "", x.organization, policies, 401},
		{"unknown token", "AAAABBBBCCCCDDDDEEEEFFFFGGGGHHHHIIIIJJJJKKK=", x.organization, policies, 401},
		{"unknown organization", x.token, "11111111-2222-3333-4444-555555555555", policies, 404},
		{"unknown route", x.token, x.organization, "/Cryptoki/NoSuchThing", 404},
		{"unknown signing request", x.token, x.organization, "/SigningRequests/11111111-2222-3333-4444-555555555555/Status", 404},
		{"unknown policy", x.token, x.organization, "/Projects/" + x.project + "/SigningPolicies/no-such-policy/Certificate/X509Certificate", 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := x.send(t, test.token, "GET", x.url+"/v1/"+test.organization+test.path, "", nil)
			r.wantProblem(t, test.status)
		})
	}
}
