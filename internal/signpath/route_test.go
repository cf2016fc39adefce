package signpath

import (
	"crypto"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const (
	routeC = "POST SigningRequests/SignHash"
	routeA = "POST SigningRequests"
	routeB = "POST SigningRequests/SubmitWithArtifact"
)

func (s *service) handleRoute(route string, h http.HandlerFunc) {
	method, path, _ := strings.Cut(route, " ")
	s.handle(method, path, h)
}

func problemHandler(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeProblem(w, status, body) }
}

func TestFallbackToOlderGenerations(t *testing.T) {
	moved := problemHandler(400, `{"title":"t","errors":{"$.hashSigningData.hash":["no"]}}`)
	for _, test := range []struct {
		name    string
		c, a    http.HandlerFunc
		b       bool
		want    []string
		working string
	}{
		{"current", nil, nil, true, []string{routeC, routeC}, ""},
		{"404", answerStatus(404), nil, true, []string{routeC, routeA, routeA}, "signing-requests"},
		{"405", answerStatus(405), nil, true, []string{routeC, routeA, routeA}, "signing-requests"},
		{"415", answerStatus(415), nil, true, []string{routeC, routeA, routeA}, "signing-requests"},
		{"contract moved", moved, nil, true, []string{routeC, routeA, routeA}, "signing-requests"},
		{"only B", answerStatus(404), answerStatus(405), true, []string{routeC, routeA, routeB, routeB}, "submit-with-artifact"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(t, true)
			if test.c == nil {
				test.c = signHashHandler(t)
			}
			if test.a == nil {
				test.a = artifactHandler(t)
			}
			s.handleRoute(routeC, test.c)
			s.handleRoute(routeA, test.a)
			s.handleRoute(routeB, artifactHandler(t))
			c := newTestClient(t, s.config())
			for range 2 {
				if _, err := c.key("p-256").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.seen(); !slices.Equal(got, test.want) {
				t.Errorf("requests %v", got)
			}
			if test.working != "" {
				wantInLog(t, c, "SIGNKIT_SIGN_ROUTE="+test.working)
				if strings.Count(c.log.String(), "SIGNKIT_SIGN_ROUTE=") != 1 {
					t.Error("more than one hint")
				}
			}
		})
	}
}

func TestEveryAlgorithmOnOlderGenerations(t *testing.T) {
	for _, route := range []string{routeA, routeB} {
		s := newService(t, true)
		s.handleRoute(route, artifactHandler(t))
		c := newTestClient(t, s.config(), func(o *Options) { o.Process = testProcess })
		for name := range testKeys() {
			for _, opts := range append(allOptions(name), md5For(name)...) {
				digest := make([]byte, opts.HashFunc().Size())
				signature, err := c.key(name).SignContext(t.Context(), digest, opts)
				if err != nil {
					t.Fatalf("%s %s %v: %v", route, name, opts, err)
				}
				if err := verifyIndependently(c.key(name).Public(), digest, signature, opts); err != nil {
					t.Errorf("%s %s %v: %v", route, name, opts, err)
				}
			}
		}
	}
}

func md5For(name string) []crypto.SignerOpts {
	if name == "rsa" {
		return []crypto.SignerOpts{crypto.MD5}
	}
	return nil
}

func TestOtherFailuresAreFinal(t *testing.T) {
	for status, body := range map[int]string{
		400: `{"errors":{"SigningPolicySlug":["unknown"]}}`, 401: "", 403: "not you", 409: "", 422: "",
	} {
		s := newService(t, true)
		s.handleRoute(routeC, problemHandler(status, body))
		s.handleRoute(routeA, artifactHandler(t))
		c := newTestClient(t, s.config())
		_, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256)
		var e *Error
		if !errors.As(err, &e) || e.Status != status || len(s.seen()) != 1 {
			t.Errorf("%d: requests %v, %v", status, s.seen(), err)
		}
	}
}

func TestFirstErrorIsShownWhenNoGenerationWorks(t *testing.T) {
	s := newService(t, true)
	s.handleRoute(routeC, problemHandler(404, `{"title":"no such organization"}`))
	s.handleRoute(routeA, answerStatus(404))
	s.handleRoute(routeB, answerStatus(415))
	_, err := newTestClient(t, s.config()).key("rsa").SignContext(t.Context(), digest32, crypto.SHA256)
	var e *Error
	if !errors.As(err, &e) || e.Status != 404 || !strings.Contains(err.Error(), "no such organization") ||
		!strings.Contains(err.Error(), "SIGNPATH_ORGANIZATION_ID") || len(s.seen()) != 3 {
		t.Errorf("requests %v, %v", s.seen(), err)
	}
}

func TestPinnedRouteIsTheOnlyOne(t *testing.T) {
	for name, route := range map[string]string{"sign-hash": routeC, "signing-requests": routeA, "submit-with-artifact": routeB} {
		s := newService(t, true)
		cfg := s.config()
		cfg.SignRoute = name
		c := newTestClient(t, cfg)
		_, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256)
		if got := s.seen(); err == nil || !slices.Equal(got, []string{route}) {
			t.Errorf("%s: requests %v, %v", name, got, err)
		}
	}
}

// TestMD5SkipsTheCurrentGeneration, which has no name for it, and leaves the memory alone.
func TestMD5SkipsTheCurrentGeneration(t *testing.T) {
	s := newService(t, true)
	s.handleRoute(routeC, signHashHandler(t))
	s.handleRoute(routeA, artifactHandler(t))
	key := newTestClient(t, s.config()).key("rsa")
	for _, hash := range []crypto.Hash{crypto.MD5, crypto.SHA256, crypto.MD5} {
		if _, err := key.SignContext(t.Context(), make([]byte, hash.Size()), hash); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.seen(); !slices.Equal(got, []string{routeA, routeC, routeA}) {
		t.Errorf("requests %v", got)
	}
	cfg := s.config()
	cfg.SignRoute = "sign-hash"
	_, err := newTestClient(t, cfg).key("rsa").SignContext(t.Context(), make([]byte, 16), crypto.MD5)
	if !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}

func TestUnusableSignAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"empty":              ``,
		"no object":          `[]`,
		"nothing in it":      `{}`,
		"signature no text":  `{"hashSigningResult":{"signature":7}}`,
		"bad base64":         `{"hashSigningResult":{"signature":"%%%"}}`,
		"bad hash":           `{"hashSigningResult":{"signature":"AAAA"},"hashSigningData":{"hash":"%"}}`,
		"id with a path":     `{"signingRequestId":"../../Meta"}`,
		"id with characters": `{"signingRequestId":"a b\u0000"}`,
		"garbage":            "\x00\xff\x17",
	} {
		s := newService(t, true)
		s.handleRoute(routeC, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
		_, err := newTestClient(t, s.config()).key("rsa").SignContext(t.Context(), digest32, crypto.SHA256)
		var e *Error
		if !errors.As(err, &e) || e.Status != 200 || e.Kind.Transient() || len(s.seen()) != 1 {
			t.Errorf("%s: requests %v, %v", name, s.seen(), err)
		}
	}
}
