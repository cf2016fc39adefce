package signpath

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"testing"

	"signkit/internal/mockapi"
)

func TestKnownKeySignsWithOneRequest(t *testing.T) {
	s := mockState(t)(mockapi.Generations{})
	keys, err := newTestClient(t, mockConfig(t, s)).Policies(t.Context(), Filter{"demo", "p-256"})
	if err != nil || len(keys) != 1 {
		t.Fatalf("Policies = %v, %v", keys, err)
	}
	s.ClearRequests()
	key, err := newTestClient(t, mockConfig(t, s)).KnownKey("demo", "p-256", keys[0].Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.SignContext(t.Context(), make([]byte, 32), crypto.SHA256); err != nil {
		t.Error(err)
	}
	if requests := s.Requests(); len(requests) != 1 {
		t.Errorf("%d requests, want 1: %v", len(requests), requests)
	}
}

func TestKnownKeyNoticesAnotherKey(t *testing.T) {
	s := mockState(t)(mockapi.Generations{})
	c := newTestClient(t, mockConfig(t, s))
	keys, err := c.Policies(t.Context(), Filter{"demo", "gpg-p-256"})
	if err != nil || len(keys) != 1 {
		t.Fatalf("Policies = %v, %v", keys, err)
	}
	key, err := c.KnownKey("demo", "p-256", keys[0].Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.SignContext(t.Context(), make([]byte, 32), crypto.SHA256); !errors.Is(err, ErrWrongSignature) {
		t.Errorf("SignContext = %v, want ErrWrongSignature", err)
	}
	if !key.Stale() {
		t.Error("the key is not stale")
	}
}

func TestKnownKeyRefusesOtherKeys(t *testing.T) {
	s := mockState(t)(mockapi.Generations{})
	if _, err := newTestClient(t, mockConfig(t, s)).KnownKey("demo", "x", ed25519.PublicKey{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("KnownKey = %v, want ErrUnsupported", err)
	}
}
