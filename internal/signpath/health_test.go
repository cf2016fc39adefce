package signpath

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"signkit/internal/config"
)

// TestHealthShowsNoToken: the route needs no credentials, and gets none.
func TestHealthShowsNoToken(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.URL.Path != "/Api/healthz" {
			t.Errorf("%s %s with Authorization %q", r.Method, r.URL.Path, r.Header.Get("Authorization"))
		}
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		w.Write([]byte("Healthy"))
	}))
	defer server.Close()
	health, err := healthClient(t, server.URL+"/Api").Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if health.Status != 200 || health.Text != "Healthy" || health.Proxy != "" || health.Certificates != nil {
		t.Errorf("Health = %+v", health)
	}
	if health.Ahead < 59*time.Minute || health.Ahead > 61*time.Minute {
		t.Errorf("the clock is ahead by %s, want about an hour", health.Ahead)
	}
}

// TestHealthOfNothingSaysWhatToCheck: the error has the hint that a failed signature has.
func TestHealthOfNothingSaysWhatToCheck(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := healthClient(t, server.URL).Health(t.Context())
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Health = %v", err)
	}
}

func healthClient(t *testing.T, url string) *Client {
	t.Helper()
	cfg, err := config.Load([]string{
		"SIGNPATH_API_URL=" + url, "SIGNPATH_API_TOKEN=canary-token", "SIGNPATH_ORGANIZATION_ID=00000000-0000-0000-0000-000000000001",
	}, "/")
	if err != nil {
		t.Fatal(err)
	}
	client, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}
