package signpath

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"net/http"
	"testing"

	"signkit/internal/event"
	"signkit/internal/key"
	"signkit/internal/mockapi"
)

// TestSignaturesAndFailuresAreRecorded: each once, and the error says so.
func TestSignaturesAndFailuresAreRecorded(t *testing.T) {
	s := mockState(t)(mockapi.Generations{})
	cfg := mockConfig(t, s)
	cfg.Timeouts.RetryCount = 0
	var events []event.Event
	client, err := New(cfg, Options{Record: func(e event.Event) { events = append(events, e) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	keys, err := client.Policies(t.Context(), Filter{ProjectSlug: "demo", SigningPolicySlug: "p-256"})
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	digest := sha256.Sum256([]byte("hello"))
	if _, err := keys[0].SignContext(t.Context(), digest[:], crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	if len(events) != 1 || events[0].Failed() || events[0].Key != "demo/p-256" || events[0].Digest != fmt.Sprintf("%x", digest) ||
		events[0].RequestID == "" || events[0].Algorithm == "" || events[0].Kind != "" {
		t.Errorf("a signature: %+v", events)
	}
	for _, test := range []struct {
		fault mockapi.Fault
		want  key.Kind
	}{
		{mockapi.Fault{Kind: "status", Status: http.StatusUnauthorized}, key.Forbidden},
		{mockapi.Fault{Kind: "status", Status: http.StatusForbidden}, key.Forbidden},
		{mockapi.Fault{Kind: "status", Status: http.StatusTooManyRequests}, key.Throttled},
		{mockapi.Fault{Kind: "status", Status: http.StatusBadGateway}, key.Unavailable},
		{mockapi.Fault{Kind: "status", Status: http.StatusConflict}, key.BadRequest},
		{mockapi.Fault{Kind: "reset"}, key.Network},
		{mockapi.Fault{Kind: "wrong-signature"}, key.BadAnswer},
		{mockapi.Fault{Kind: "garbage"}, key.BadAnswer},
	} {
		events, test.fault.Route, test.fault.Count = nil, "sign", 1
		if err := s.SetFaults([]mockapi.Fault{test.fault}); err != nil {
			t.Fatal(err)
		}
		_, err := keys[0].SignContext(t.Context(), digest[:], crypto.SHA256)
		if err == nil || len(events) != 1 || events[0].Kind != test.want || events[0].Error != err.Error() || !event.IsTold(err) {
			t.Errorf("%+v: %v, recorded %+v, want kind %s", test.fault, err, events, test.want)
		}
	}
}
