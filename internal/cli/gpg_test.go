package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestExpiryIsReadAsGPGReadsIt(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 5, time.UTC)
	for text, want := range map[string]string{
		"1y": "2027-01-31T12:00:00Z", "18m": "2027-07-31T12:00:00Z", "2w": "2026-02-14T12:00:00Z",
		"90d": "2026-05-01T12:00:00Z", "90": "2026-05-01T12:00:00Z", "2030-12-31": "2030-12-31T00:00:00Z",
	} {
		got, err := parseExpiry(text, now)
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %s %v", text, got.Format(time.RFC3339), err)
		}
	}
	for _, text := range []string{"never", "0"} {
		if got, err := parseExpiry(text, now); err != nil || !got.IsZero() {
			t.Errorf("%s: %s %v", text, got, err)
		}
	}
	for _, text := range []string{"", "soon", "0d", "-1d", "1.5y", "2026-01-31", "2020-01-01", "99999d", "2030-13-01"} {
		if got, err := parseExpiry(text, now); exitCodeOf(err) != exitUsage {
			t.Errorf("%q: %s %v", text, got, err)
		}
	}
}

// The bridge runs in "/", and cannot know where the settings were written.
func TestTheAgentGetsPathsInFull(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"token": "secret-token-of-the-test", "ca.pem": "", "settings.json": `{"Log": {"File": {"Directory": "logs"}}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	a := newApp([]string{
		"PATH=/bin", "SIGNPATH_CONFIG_FILE=settings.json", "SIGNPATH_API_TOKEN_FILE=token", "SIGNKIT_CA_FILE=ca.pem",
		"SIGNPATH_ORGANIZATION_ID=0b4f3a3c-0000-4000-8000-000000000001", "SOFTHSM2_CONF=/etc/softhsm2.conf",
	}, dir, nil, &out, &out)
	environ, err := a.agentEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(environ)
	want := []string{
		"PATH=/bin",
		"SIGNKIT_CA_FILE=" + dir + "/ca.pem",
		"SIGNPATH_API_TOKEN_FILE=" + dir + "/token",
		"SIGNPATH_CONFIG_FILE=" + dir + "/settings.json",
		"SIGNPATH_LOG_FILE_DIRECTORY=" + dir + "/logs",
		"SIGNPATH_ORGANIZATION_ID=0b4f3a3c-0000-4000-8000-000000000001",
		"SOFTHSM2_CONF=/etc/softhsm2.conf",
	}
	if !slices.Equal(environ, want) {
		t.Errorf("got\n%s", strings.Join(environ, "\n"))
	}
}
