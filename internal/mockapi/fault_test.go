package mockapi_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"signkit/internal/mockapi"
)

// ask sends one request for the policies and returns what came of it.
func (x *target) ask(t *testing.T) (*http.Response, []byte, error) {
	t.Helper()
	request, err := http.NewRequest("GET", x.url+"/v1/"+x.organization+"/Cryptoki/MySigningPolicies?signingPolicySlug=p-256", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+x.token)
	answer, err := x.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer, body, err
}

// once sets one fault for the policies route.
func once(t *testing.T, s *mockapi.Server, f mockapi.Fault) {
	t.Helper()
	f.Route = "policies"
	if err := s.SetFaults([]mockapi.Fault{f}); err != nil {
		t.Fatal(err)
	}
}

func TestFaultStatusWithRetryAfter(t *testing.T) {
	s := start(t, fastConfig())
	x := first(t, s)
	once(t, s, mockapi.Fault{Kind: "status", Status: 429, RetryAfter: "7", Count: 2})
	for range 2 {
		answer, body, err := x.ask(t)
		if err != nil || answer.StatusCode != 429 || answer.Header.Get("Retry-After") != "7" {
			t.Fatalf("%v, %v: %s", answer, err, body)
		}
	}
	if answer, _, err := x.ask(t); err != nil || answer.StatusCode != 200 {
		t.Errorf("a fault with count 2 is still there for the third request: %v, %v", answer, err)
	}
}

func TestFaultsOfEachSoManyRequestsComeInTurn(t *testing.T) {
	s := start(t, fastConfig())
	x := first(t, s)
	if err := s.SetFaults([]mockapi.Fault{
		{Route: "policies", Kind: "status", Status: 503, Every: 3, Count: -1},
		{Route: "policies", Kind: "status", Status: 429, Every: 2, Count: 1},
	}); err != nil {
		t.Fatal(err)
	}
	var got []int
	for range 9 {
		answer, _, err := x.ask(t)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, answer.StatusCode)
	}
	if want := []int{200, 429, 503, 200, 200, 503, 200, 200, 503}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := s.SetFaults([]mockapi.Fault{{Route: "policies", Kind: "status", Every: -1}}); err == nil {
		t.Error("every -1 is accepted")
	}
}

func TestFaultDelayIsFollowedByTheRightAnswer(t *testing.T) {
	s := start(t, fastConfig())
	once(t, s, mockapi.Fault{Kind: "delay", MS: 150})
	began := time.Now()
	answer, _, err := first(t, s).ask(t)
	if err != nil || answer.StatusCode != 200 || time.Since(began) < 150*time.Millisecond {
		t.Errorf("%v, %v after %s", answer, err, time.Since(began))
	}
}

func TestFaultHangEndsWithTheClient(t *testing.T) {
	s := start(t, fastConfig())
	x := first(t, s)
	once(t, s, mockapi.Fault{Kind: "hang"})
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, "GET", x.url+"/v1/"+x.organization+"/Cryptoki/MySigningPolicies", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := x.client.Do(request); done <- err }()
	until(t, "the fault strikes", func() bool { return len(s.Faults()) == 0 })
	select {
	case err := <-done:
		t.Fatalf("the request did not hang: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if err := await(t, done); !errors.Is(err, context.Canceled) {
		t.Errorf("the hanging request ended with %v", err)
	}
	if answer, _, err := x.ask(t); err != nil || answer.StatusCode != 200 {
		t.Errorf("after the hang: %v, %v", answer, err)
	}
}

// The request goes over a bare connection that then only reads: a write that
// meets the reset first would leave a mere end of file to the reader.
func TestFaultResetIsATCPReset(t *testing.T) {
	s := start(t, fastConfig())
	once(t, s, mockapi.Fault{Kind: "reset"})
	address := strings.TrimPrefix(s.BaseURL(), "https://")
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: rootPool(t, s.CAFile())})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(bound)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /Api/v1/%s/Cryptoki/MySigningPolicies HTTP/1.1\r\nHost: x\r\n\r\n", s.OrganizationID())
	if body, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("want a connection reset, got %v after %q", err, body)
	}
}

func TestFaultResetEndsAnHTTP2Request(t *testing.T) {
	s := start(t, fastConfig())
	x := first(t, s)
	once(t, s, mockapi.Fault{Kind: "reset", Count: -1}) // a client may repeat a GET by itself
	if _, _, err := x.ask(t); err == nil {
		t.Error("the request was answered")
	}
	s.ClearFaults()
	if answer, _, err := x.ask(t); err != nil || answer.StatusCode != 200 || answer.ProtoMajor != 2 {
		t.Errorf("after the faults are cleared: %v, %v", answer, err)
	}
}

func TestFaultBodiesAreNotTheAnswer(t *testing.T) {
	s := start(t, fastConfig())
	x := first(t, s)
	for kind, contentType := range map[string]string{"garbage": "application/json", "html": "text/html"} {
		once(t, s, mockapi.Fault{Kind: kind})
		answer, body, err := x.ask(t)
		if err != nil || answer.StatusCode != 200 || !strings.HasPrefix(answer.Header.Get("Content-Type"), contentType) || json.Valid(body) {
			t.Errorf("%s: %v, %v: %q", kind, answer, err, body)
		}
	}
}

func TestFaultTruncatedSendsHalf(t *testing.T) {
	s := start(t, fastConfig())
	x := first(t, s)
	_, whole, err := x.ask(t)
	if err != nil {
		t.Fatal(err)
	}
	once(t, s, mockapi.Fault{Kind: "truncated"})
	answer, body, err := x.ask(t)
	if err == nil || answer == nil || answer.ContentLength != int64(len(whole)) || !bytes.Equal(body, whole[:len(whole)/2]) {
		t.Errorf("got %d of %d bytes and the error %v", len(body), len(whole), err)
	}
}

func TestFaultySignaturesDoNotVerify(t *testing.T) {
	cfg := fastConfig()
	project := &cfg.Organizations[0].Projects[0]
	project.Policies = append(project.Policies, mockapi.Policy{Slug: "rsa-2048", Submitters: []string{"ci"}})
	s := start(t, cfg)
	x := first(t, s)
	for _, policy := range []string{"p-256", "rsa-2048"} {
		p := x.policies(t, "?signingPolicySlug="+policy)[0]
		r := requestsFor(p)[0]
		key := p.public(t)
		for _, kind := range []string{"wrong-signature", "wrong-key"} {
			if err := s.SetFaults([]mockapi.Fault{{Route: "any", Kind: kind}}); err != nil {
				t.Fatal(err)
			}
			x.policies(t, "") // signs nothing, so it does not use the fault up
			for i, want := range []bool{false, true} {
				var answer struct{ Signature []byte }
				x.submit(t, routeA, r, "true").into(t, 200, &answer)
				if got := r.verify(key, answer.Signature); got != want {
					t.Errorf("%s with %s, signature %d: verifies %v, want %v", policy, kind, i, got, want)
				}
			}
		}
	}
}

func TestFaultsMatchTheirRoute(t *testing.T) {
	s, other := start(t, fastConfig()), []mockapi.Fault{}
	x := first(t, s)
	for _, route := range []string{"sign", "certificate", "gpg", "tsa"} {
		other = append(other, mockapi.Fault{Route: route, Kind: "status", Status: 500})
	}
	if err := s.SetFaults(other); err != nil {
		t.Fatal(err)
	}
	if answer, _, err := x.ask(t); err != nil || answer.StatusCode != 200 {
		t.Errorf("policies: %v, %v", answer, err)
	}
	base := "/Projects/demo/SigningPolicies/p-256"
	for i, r := range []reply{
		x.submit(t, routeB, hello("p-256"), "true"),
		x.call(t, "GET", base+"/Certificate/X509Certificate", "", nil),
		x.call(t, "GET", base+"/Certificate/GpgPublicKey", "", nil),
		x.send(t, "", "POST", s.TSAURL(), "application/timestamp-query", nil),
	} {
		if r.status != 500 {
			t.Errorf("request %d: %d, want 500", i, r.status)
		}
	}
	if left := s.Faults(); len(left) != 0 {
		t.Errorf("faults left: %+v", left)
	}
}

func TestInvalidFaultsAreRefused(t *testing.T) {
	s, _ := shared(t)
	for _, f := range []mockapi.Fault{
		{Route: "polices", Kind: "hang"}, {Route: "sign", Kind: "explode"}, {Route: "policies", Kind: "wrong-key"},
		{Route: "any", Kind: "delay"}, {Route: "any", Kind: "status", Status: 99}, {Route: "any", Kind: "hang", Count: -2},
	} {
		if err := s.SetFaults([]mockapi.Fault{f}); err == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
}

func TestAdminSide(t *testing.T) {
	s := start(t, fastConfig())
	x := first(t, s)
	admin := s.BaseURL() + "/_mock/"
	if r := x.send(t, "", "PUT", admin+"faults", "application/json", []byte(`{"faults":[{"route":"policies","kind":"status","status":503,"retry_after":1,"count":1}]}`)); r.status != 204 {
		t.Fatalf("PUT faults: %d: %s", r.status, r.body)
	}
	for _, want := range []int{503, 200} {
		if answer, _, err := x.ask(t); err != nil || answer.StatusCode != want {
			t.Fatalf("%v, %v, want %d", answer, err, want)
		}
	}
	var list []mockapi.Request
	x.send(t, "", "GET", admin+"requests", "", nil).into(t, 200, &list)
	path := "/Api/v1/" + s.OrganizationID() + "/Cryptoki/MySigningPolicies"
	want := mockapi.Request{Method: "GET", Path: path, Query: "signingPolicySlug=p-256", Status: 503, Connection: 1}
	if len(list) != 2 || list[0] != want || list[1].Status != 200 || list[1].Connection != 1 {
		t.Errorf("requests: %+v", list)
	}
	for _, bad := range []string{`{"faults":[{"route":"x","kind":"hang"}]}`, `{"fault":[]}`, `[`} {
		if r := x.send(t, "", "PUT", admin+"faults", "application/json", []byte(bad)); r.status != 400 {
			t.Errorf("PUT %s: %d", bad, r.status)
		}
	}
	if r := x.send(t, "", "DELETE", admin+"requests", "", nil); r.status != 204 || len(s.Requests()) != 0 {
		t.Errorf("DELETE requests: %d, %d left", r.status, len(s.Requests()))
	}
	if r := x.send(t, "", "DELETE", admin+"faults", "", nil); r.status != 204 {
		t.Errorf("DELETE faults: %d", r.status)
	}
}

func TestConnectionsAreNumbered(t *testing.T) {
	s := start(t, fastConfig())
	for range 2 {
		x := first(t, s)
		for range 2 {
			if _, _, err := x.ask(t); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := map[int]int{}
	for _, r := range s.Requests() {
		seen[r.Connection]++
	}
	if len(seen) != 2 || seen[1] != 2 || seen[2] != 2 {
		t.Errorf("requests per connection: %v, want two on each of 1 and 2", seen)
	}
}
