package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"signkit/internal/config"
)

func TestWithPIN(t *testing.T) {
	c := mustLoad(t, "", "SIGNPATH_ORGANIZATION_ID="+organization, "SIGNPATH_API_TOKEN="+token)
	const other = "FFFFFFFF-93b0-4c8a-9d0a-7b1de0c1a2b3"
	tests := map[string]struct{ pin, organization, token, source string }{
		"settings":             {"CONFIG", organization, token, "environment variable SIGNPATH_API_TOKEN"},
		"with a line break":    {"CONFIG\n", organization, token, "environment variable SIGNPATH_API_TOKEN"},
		"own credentials":      {other + ":abc/+=", other, "abc/+=", "PIN"},
		"colon in the token":   {other + ":abc:def", other, "abc:def", "PIN"},
		"same user, new token": {organization + ":new", organization, "new", "PIN"},
	}
	for name, test := range tests {
		got, err := c.WithPIN(test.pin)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.OrganizationID != test.organization || got.APIToken.Reveal() != test.token || got.Source("ApiToken") != test.source {
			t.Errorf("%s: organization %q, source %q, or the token is wrong", name, got.OrganizationID, got.Source("ApiToken"))
		}
	}
	if c.APIToken.Reveal() != token || c.Source("ApiToken") != "environment variable SIGNPATH_API_TOKEN" {
		t.Error("WithPIN changed its receiver")
	}
}

func TestWithPINErrors(t *testing.T) {
	c := mustLoad(t, "", "SIGNPATH_ORGANIZATION_ID="+organization, "SIGNPATH_API_TOKEN="+token)
	const other = "ffffffff-93b0-4c8a-9d0a-7b1de0c1a2b3"
	tests := []struct {
		pin    string
		reason config.PINReason
	}{
		{"", config.Empty},
		{"\n", config.Empty},
		{organization[:32], config.Cut},
		{organization[:10], config.Cut},
		{organization[:6], config.Cut},
		{strings.ToUpper(organization[:8]), config.Cut},
		{organization, config.Cut},
		{organization + ":", config.Cut},
		{organization + ":" + token[:10], config.Cut},
		{other[:32], config.Cut},
		{other[:9], config.Cut},
		{other, config.Cut},
		{other + ":", config.Cut},
		{"123456", config.Form},
		{"config", config.Form},
		{"geheimes Wort", config.Form},
		{"geheim:" + token, config.Form},
		{token, config.Form},
		{organization + "x:" + token, config.Form},
		{other + ":geheim geheim", config.Form},
		{other + ":encrypted:geheim", config.Form},
		{other + "%3Ageheim", config.Form},
	}
	for _, test := range tests {
		got, err := c.WithPIN(test.pin)
		var pin *config.PINError
		if !errors.As(err, &pin) || got != nil {
			t.Errorf("%q: error %v", test.pin, err)
			continue
		}
		if pin.Reason != test.reason {
			t.Errorf("%q: reason %d (%v), want %d", test.pin, pin.Reason, err, test.reason)
		}
		if strings.Contains(err.Error(), "geheim") || len(test.pin) > 6 && strings.Contains(err.Error(), test.pin) {
			t.Errorf("the error shows the PIN: %v", err)
		}
		if test.reason != config.Form && !strings.Contains(err.Error(), "CONFIG") {
			t.Errorf("%q: %v does not name CONFIG", test.pin, err)
		}
	}
}

func TestZeroConfigTakesAPIN(t *testing.T) {
	got, err := new(config.Config).WithPIN(organization + ":" + token)
	if err != nil || got.OrganizationID != organization {
		t.Errorf("got %+v, %v", got, err)
	}
}

// FuzzWithPIN: a PIN is either refused without being shown, or yields usable credentials.
func FuzzWithPIN(f *testing.F) {
	for _, seed := range []string{"", "CONFIG", organization, organization[:32], organization + ":" + token, organization + "::", ":", "1234", "a:b",
		organization + ":\x00", "\xff:" + token, organization + ":registry:x", strings.Repeat("0", 36)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pin string) {
		c, err := new(config.Config).WithPIN(pin)
		var typed *config.PINError
		switch {
		case err == nil && strings.TrimRight(pin, "\r\n") == "CONFIG":
		case err == nil:
			if c.OrganizationID+":"+c.APIToken.Reveal() != strings.TrimRight(pin, "\r\n") || c.APIToken.IsZero() || c.OrganizationID == "" {
				t.Errorf("wrong credentials from %q", pin)
			}
		case !errors.As(err, &typed):
			t.Errorf("%q: untyped error %v", pin, err)
		case len(pin) > 20 && strings.Contains(err.Error(), pin):
			t.Errorf("the error shows the PIN: %v", err)
		}
	})
}

func TestSecretIsNeverPrinted(t *testing.T) {
	type inner struct{ hidden config.Secret }
	type outer struct {
		Shown config.Secret
		In    inner
		Ptr   *config.Secret
	}
	s := config.NewSecret("geheim")
	v := outer{s, inner{s}, &s}
	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.3s"} {
		fmt.Fprintf(&printed, verb+verb+verb+verb, s, &s, v, []config.Secret{s})
	}
	encoded, err := json.Marshal(map[string]any{"s": s, "v": v})
	if err != nil {
		t.Fatal(err)
	}
	printed.Write(encoded)
	for _, h := range []slog.Handler{slog.NewTextHandler(&printed, nil), slog.NewJSONHandler(&printed, nil)} {
		slog.New(h).Info("x", "s", s, "v", v)
	}
	if got := printed.String(); strings.Contains(got, "geheim") || strings.Contains(got, "67656865") || !strings.Contains(got, "[redacted]") {
		t.Errorf("printed: %s", got)
	}
	if s.Reveal() != "geheim" || s.IsZero() {
		t.Error("Reveal does not return the secret")
	}
	empty := config.NewSecret("")
	if got := fmt.Sprintf("%v%#v", empty, empty); got != "" || !empty.IsZero() || empty.Reveal() != "" {
		t.Errorf("the empty secret prints %q", got)
	}
}
