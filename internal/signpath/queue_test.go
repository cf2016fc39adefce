package signpath

import (
	"context"
	"crypto"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// statusesInTurn answers with each status, the last one for ever.
func statusesInTurn(statuses ...string) http.HandlerFunc {
	var n atomic.Int32
	return func(w http.ResponseWriter, _ *http.Request) {
		i := min(int(n.Add(1)), len(statuses)) - 1
		writeJSON(w, map[string]any{"status": statuses[i], "workflowStatus": "X" + statuses[i], "isFinalStatus": false})
	}
}

func signedArtifact(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"SignatureAlgorithm": "RsaPkcs1", "Base64EncodedHash": digest32,
			"Signature": rawSign(t, "rsa", digest32, crypto.SHA256, false)})
	}
}

func TestQueuedRequestIsPolledNotResubmitted(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"body": func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, map[string]string{"signingRequestId": "0148-79", "webLink": "https://web/0148-79"})
		},
		"location": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.invalid/Api/v1/x/SigningRequests/0148-79?x=1")
			w.WriteHeader(http.StatusCreated)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, true)
			s.handleRoute(routeC, answer)
			s.handle("GET", "SigningRequests/0148-79/Status", statusesInTurn("InProgress", "WaitingForApproval", "Completed"))
			s.handle("GET", "SigningRequests/0148-79/SignedArtifact", signedArtifact(t))
			c := newTestClient(t, s.config())
			if _, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
				t.Fatal(err)
			}
			status := "GET SigningRequests/0148-79/Status"
			want := []string{routeC, status, status, status, "GET SigningRequests/0148-79/SignedArtifact"}
			if got := s.seen(); !slices.Equal(got, want) {
				t.Errorf("requests %v", got)
			}
			wantInLog(t, c, "level=WARN", "queued the signing request", "0148-79")
		})
	}
}

func TestQueuedRequestOnAServiceWithoutTheStatusRoute(t *testing.T) {
	s := newService(t, true)
	s.handleRoute(routeC, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, map[string]string{"signingRequestId": "7"}) })
	s.handle("GET", "SigningRequests/7", statusesInTurn("Completed"))
	s.handle("GET", "SigningRequests/7/SignedArtifact", signedArtifact(t))
	if _, err := newTestClient(t, s.config()).key("rsa").SignContext(t.Context(), digest32, crypto.SHA256); err != nil {
		t.Fatal(err)
	}
}

func TestQueuedRequestThatFails(t *testing.T) {
	for status, cause := range map[string]error{"Failed": nil, "Denied": ErrDenied, "Canceled": ErrCanceled} {
		s := newService(t, true)
		s.handleRoute(routeC, func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, map[string]string{"signingRequestId": "7", "webLink": "https://web/7"})
		})
		s.handle("GET", "SigningRequests/7/Status", statusesInTurn(status))
		_, err := newTestClient(t, s.config()).key("rsa").SignContext(t.Context(), digest32, crypto.SHA256)
		if err == nil || !strings.Contains(err.Error(), status) || !strings.Contains(err.Error(), "https://web/7") {
			t.Errorf("%s: %v", status, err)
		}
		if cause != nil && !errors.Is(err, cause) {
			t.Errorf("%s: %v is not %v", status, err, cause)
		}
	}
}

func TestQueuedRequestIsBounded(t *testing.T) {
	s := newService(t, true)
	s.handleRoute(routeC, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, map[string]string{"signingRequestId": "7"}) })
	s.handle("GET", "SigningRequests/7/Status", statusesInTurn("InProgress"))
	cfg := s.config()
	cfg.Timeouts.Total = 100 * time.Second
	c := newTestClient(t, cfg)
	start := c.clock.now()
	_, err := c.key("rsa").SignContext(t.Context(), digest32, crypto.SHA256)
	if took := c.clock.now().Sub(start); !errors.Is(err, ErrTimeout) || took > 100*time.Second || took < 80*time.Second {
		t.Errorf("%s, %v", took, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	c.clock.hook = cancel
	if _, err := c.key("rsa").SignContext(ctx, digest32, crypto.SHA256); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestQueuedRequestWithAnEmptyArtifact(t *testing.T) {
	s := newService(t, true)
	s.handleRoute(routeC, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, map[string]string{"signingRequestId": "7"}) })
	s.handle("GET", "SigningRequests/7/Status", statusesInTurn("Completed"))
	s.handle("GET", "SigningRequests/7/SignedArtifact", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]string{"signingRequestId": "7"})
	})
	_, err := newTestClient(t, s.config()).key("rsa").SignContext(t.Context(), digest32, crypto.SHA256)
	if err == nil || !strings.Contains(err.Error(), "holds no signature") {
		t.Error(err)
	}
}
