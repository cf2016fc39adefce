package signpath

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"os"
	"strings"
	"testing"

	"signkit/internal/config"
	"signkit/internal/mockapi"
	"signkit/internal/pgpkey"
)

// mockState keeps the mock's keys for all tests of a run: RSA-4096 takes seconds to make.
func mockState(t *testing.T) func(generations mockapi.Generations) *mockapi.Server {
	dir := t.TempDir()
	return func(g mockapi.Generations) *mockapi.Server {
		cfg := mockapi.DefaultConfig()
		cfg.Generations = g
		s, err := mockapi.Start(mockapi.Options{StateDir: dir, Config: cfg})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
		return s
	}
}

func mockConfig(t *testing.T, s *mockapi.Server) *config.Config {
	t.Helper()
	cfg, err := config.Load(s.Environment(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// mockPolicies are signed with in every generation; gpg-rsa-4096 only where all keys are
// wanted, because its key takes seconds to make.
func mockPolicies() []string {
	policies := []string{"rsa-2048", "rsa-3072", "p-256", "p-384", "p-521", "gpg-p-256"}
	if os.Getenv("SIGNKIT_NO_SKIP") != "" {
		policies = append(policies, "rsa-4096", "gpg-rsa-4096")
	}
	return policies
}

// TestMockEveryPolicyAlgorithmAndGeneration signs on each sign route of a service that
// checks every field, and counts what it costs.
func TestMockEveryPolicyAlgorithmAndGeneration(t *testing.T) {
	start := mockState(t)
	off := mockapi.Generation{Off: true}
	for _, test := range []struct {
		name        string
		generations mockapi.Generations
		failing     int // requests before the route that works, once per client
	}{
		{"sign-hash", mockapi.Generations{}, 0},
		{"signing-requests", mockapi.Generations{SignHash: off}, 1},
		{"submit-with-artifact", mockapi.Generations{SignHash: mockapi.Generation{Off: true, Status: 400}, SigningRequests: off}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(test.generations)
			for _, policy := range mockPolicies() {
				s.ClearRequests()
				c := newTestClient(t, mockConfig(t, s), func(o *Options) { o.Process = testProcess })
				n := signAll(t, c, policy)
				requests := s.Requests()
				if len(requests) != 1+test.failing+n {
					t.Errorf("%s: %d requests for %d signatures", policy, len(requests), n)
				}
				for _, r := range requests {
					if r.Connection != requests[0].Connection {
						t.Errorf("%s: a second connection for %s %s", policy, r.Method, r.Path)
					}
				}
				c.Close()
			}
		})
	}
}

// signAll makes a signature with each algorithm of the policy's key.
func signAll(t *testing.T, c *testClient, policy string) int {
	t.Helper()
	keys, err := c.Policies(t.Context(), Filter{"demo", policy})
	if err != nil || len(keys) != 1 {
		t.Fatalf("%s: %v, %v", policy, keys, err)
	}
	all := allOptions(policy)
	for _, opts := range all {
		digest := bytes.Repeat([]byte{0xc3}, opts.HashFunc().Size())
		signature, err := keys[0].SignContext(t.Context(), digest, opts)
		if err != nil {
			t.Fatalf("%s %v: %v", policy, opts, err)
		}
		if err := verifyIndependently(keys[0].Public(), digest, signature, opts); err != nil {
			t.Errorf("%s %v: %v", policy, opts, err)
		}
	}
	return len(all)
}

// TestMockColdProcessCosts two requests on one connection; a further signature one more.
func TestMockColdProcessCosts(t *testing.T) {
	s := mockState(t)(mockapi.Generations{})
	for _, prepare := range []bool{true, false} {
		s.ClearRequests()
		c := newTestClient(t, mockConfig(t, s))
		if prepare {
		}
		keys, err := c.Policies(t.Context(), Filter{"demo", "p-256"})
		if err != nil || len(keys) != 1 {
			t.Fatal(keys, err)
		}
		for i := range 3 {
			if _, err := keys[0].SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
				t.Fatal(err)
			}
			requests := s.Requests()
			if len(requests) != i+2 || requests[i+1].Connection != requests[0].Connection {
				t.Errorf("after signature %d: %+v", i+1, requests)
			}
		}
	}
}

func TestMockFaults(t *testing.T) {
	s := mockState(t)(mockapi.Generations{})
	for _, test := range []struct {
		fault   mockapi.Fault
		want    error
		retries int
		text    string
	}{
		{mockapi.Fault{Kind: "status", Status: 503, Count: 2}, nil, 2, ""},
		{mockapi.Fault{Kind: "status", Status: 429, RetryAfter: "9"}, nil, 1, ""},
		{mockapi.Fault{Kind: "reset"}, nil, 1, ""},
		{mockapi.Fault{Kind: "truncated"}, nil, 1, ""},
		{mockapi.Fault{Kind: "garbage"}, nil, 0, "not the JSON that was expected"},
		{mockapi.Fault{Kind: "html"}, nil, 0, "probably does not point at the API"},
		{mockapi.Fault{Kind: "wrong-signature"}, ErrWrongSignature, 0, "may have changed"},
		{mockapi.Fault{Kind: "wrong-key"}, ErrWrongSignature, 0, "may have changed"},
		{mockapi.Fault{Kind: "status", Status: 401}, nil, 0, "check SIGNPATH_API_TOKEN"},
	} {
		t.Run(test.fault.Kind, func(t *testing.T) {
			c := newTestClient(t, mockConfig(t, s))
			keys, err := c.Policies(t.Context(), Filter{"demo", "p-256"})
			if err != nil {
				t.Fatal(err)
			}
			test.fault.Route = "sign"
			if err := s.SetFaults([]mockapi.Fault{test.fault}); err != nil {
				t.Fatal(err)
			}
			_, err = keys[0].SignContext(t.Context(), digest32, crypto.SHA256)
			if (err != nil) != (test.text != "") || test.want != nil && !errors.Is(err, test.want) {
				t.Error(err)
			}
			if err != nil && !strings.Contains(err.Error(), test.text) || len(c.clock.waits()) != test.retries {
				t.Errorf("waits %v, %v", c.clock.waits(), err)
			}
		})
	}
}

func TestMockQueuedRequest(t *testing.T) {
	queued := mockapi.Generation{Queued: true}
	s := mockState(t)(mockapi.Generations{SignHash: queued})
	c := newTestClient(t, mockConfig(t, s))
	signAll(t, c, "p-256")
	wantInLog(t, c, "queued the signing request")
}

func TestMockCertificatesAndChain(t *testing.T) {
	s := mockState(t)(mockapi.Generations{})
	c := newTestClient(t, mockConfig(t, s))
	keys, err := c.Policies(t.Context(), Filter{"demo", "p-384"})
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	certificate, err := c.Certificate(t.Context(), "demo", "p-384")
	if err != nil || !certificate.Equal(keys[0].Certificate()) {
		t.Errorf("%v", err)
	}
	chain, err := keys[0].Chain(t.Context())
	if err != nil || len(chain) != 2 || !isSelfSigned(chain[1]) {
		t.Errorf("%s, %v", names(chain), err)
	}
	data, err := c.GPGPublicKey(t.Context(), "demo", "gpg-p-256")
	if err != nil {
		t.Fatal(err)
	}
	if key, err := pgpkey.Parse(data); err != nil || key.UserID() == "" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestMockTokenThatMaySubmitToNothing sees an empty list; its signature is refused.
func TestMockTokenThatMaySubmitToNothing(t *testing.T) {
	s := mockState(t)(mockapi.Generations{})
	cfg := mockConfig(t, s)
	keys, err := newTestClient(t, cfg).Policies(t.Context(), Filter{"demo", "p-256"})
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	cfg.APIToken = config.NewSecret(s.SecondToken())
	c := newTestClient(t, cfg)
	if list, err := c.Policies(t.Context(), Filter{}); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	keys[0].client = c.Client
	_, err = keys[0].SignContext(t.Context(), digest32, crypto.SHA256)
	var e *Error
	if !errors.As(err, &e) || e.Status != 403 || strings.Contains(err.Error(), s.SecondToken()) {
		t.Error(err)
	}
}
