package config_test

import (
	"strings"
	"testing"

	"signkit/internal/logging"
)

func TestInvalidValues(t *testing.T) {
	tests := []struct{ name, value, says string }{
		{"SIGNPATH_ORGANIZATION_ID", "my-company", "uuid"},
		{"SIGNPATH_ORGANIZATION_ID", "01234567-89ab-cdef-0123-456789abcde", "uuid"},
		{"SIGNPATH_ORGANIZATION_ID", "01234567-89ab-cdef-0123-456789abcdeg", "uuid"},
		{"SIGNPATH_ORGANIZATION_ID", "01234567089ab-cdef-0123-456789abcdef", "uuid"},
		{"SIGNPATH_ORGANIZATION_ID", organization + ":" + token, "SIGNPATH_API_TOKEN"},
		{"SIGNPATH_ORGANIZATION_ID", token, "uuid"},
		{"SIGNPATH_API_TOKEN", "geheim geheim", "byte 7 of 13"},
		{"SIGNPATH_API_TOKEN", "geheim\n", "line break"},
		{"SIGNPATH_API_TOKEN", "geheim\x7f", "control character"},
		{"SIGNPATH_API_TOKEN", "gehëim", "not ASCII"},
		{"SIGNPATH_API_TOKEN", "encrypted:geheim", "Windows"},
		{"SIGNPATH_API_TOKEN", "registry:geheim", "Windows"},
		{"SIGNPATH_API_TOKEN", strings.Repeat("geheim", 10000), "60000 bytes"},
		{"SIGNPATH_TLS_CLIENT_CERTIFICATE", "thumbprint:00FF", "SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE"},
		{"SIGNPATH_TLS_CLIENT_CERTIFICATE", "/c.pem", "SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE"},
		{"SIGNPATH_API_URL", "http://sign.example/Api", "plain http"},
		{"SIGNPATH_API_URL", "http://127.0.0.1.example/Api", "plain http"},
		{"SIGNPATH_API_URL", "https://user:geheim@sign.example/Api", "password"},
		{"SIGNPATH_API_URL", "https://sign.example/Api?x=1", "query"},
		{"SIGNPATH_API_URL", "https://sign.example/Api?", "query"},
		{"SIGNPATH_API_URL", "https://sign.example/Api#top", "fragment"},
		{"SIGNPATH_API_URL", "sign.example/Api", "https://"},
		{"SIGNPATH_API_URL", "https:sign.example", "https://"},
		{"SIGNPATH_API_URL", "https:///Api", "host"},
		{"SIGNPATH_API_URL", "https://sign.example:99999/Api", "port"},
		{"SIGNPATH_API_URL", "https://u:geheim@sign.example:x/", "URL"},
		{"http_proxy", "proxy.example", "port"},
		{"http_proxy", "ftp://u:geheim@proxy.example:1", "http, https, socks5, socks5h"},
		{"http_proxy", "http://u:geheim@", "host"},
		{"http_proxy", "://u:geheim@proxy.example", "proxy"},
		{"http_proxy", "http://u:geheim@proxy.example:1/path", "host and port"},
		{"http_proxy", "http://u:geheim@proxy.example:0", "port"},
		{"https_proxy", "http://u:ge%zzheim@proxy.example:1", "percent-encode"},
		{"SIGNPATH_PROJECT_SLUG", "demo/rsa-2048", "slug"},
		{"SIGNPATH_SIGNING_POLICY_SLUG", "..", "slug"},
		{"SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS", "perhaps", "true"},
		{"SIGNPATH_LOG_CONSOLE_LEVEL", "warn", "warning"},
		{"SIGNPATH_LOG_CONSOLE_OUTPUT_STREAM", "stdin", "stderr, stdout"},
		{"SIGNPATH_HTTP_REQUEST_TIMEOUT_IN_SECONDS", "0", "range"},
		{"SIGNPATH_HTTP_REQUEST_TIMEOUT_IN_SECONDS", "3601", "range"},
		{"SIGNPATH_HTTP_REQUEST_TIMEOUT_IN_SECONDS", "-1", "seconds"},
		{"SIGNPATH_TIMEOUTS_HTTP_REQUEST", "NaN", "seconds"},
		{"SIGNPATH_TIMEOUTS_HTTP_REQUEST", "0x10", "seconds"},
		{"SIGNPATH_TIMEOUTS_HTTP_REQUEST", "1.2.3", "number of seconds"},
		{"SIGNPATH_TIMEOUTS_HTTP_REQUEST", ".5", "number of seconds"},
		{"SIGNPATH_TIMEOUTS_HTTP_REQUEST", "1e", "number of seconds"},
		{"SIGNPATH_TIMEOUTS_HTTP_REQUEST", "1e999", "range"},
		{"SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY", "1,16", "decimal point"},
		{"SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY", "2s", "seconds"},
		{"SIGNPATH_TIMEOUTS_RETRY_COUNT", "101", "0 to 100"},
		{"SIGNPATH_TIMEOUTS_RETRY_COUNT", "1.5", "whole number"},
		{"SIGNPATH_TIMEOUTS_RETRY_COUNT", "nan", "whole number"},
		{"SIGNPATH_SERVICE_UNAVAILABLE_TIMEOUT_IN_SECONDS", "0", "range"},
		{"SIGNKIT_MAX_PARALLEL", "0", "1 to 64"},
		{"SIGNKIT_DESCRIPTION", "a\nb", "line"},
		{"SIGNKIT_SIGN_ROUTE", "fast", "submit-with-artifact"},
		{"SIGNKIT_CA_FILE", "a\x00b", "NUL"},
	}
	for _, test := range tests {
		c, err := load(t, "", test.name+"="+test.value, "SIGNPATH_LOG_FILE_LEVEL=debug")
		if err == nil {
			t.Errorf("%s=%q: no error", test.name, test.value)
			continue
		}
		line := err.Error()
		if !strings.Contains(line, "environment variable "+test.name) || !strings.Contains(line, test.says) {
			t.Errorf("%s=%q: %q does not say %q", test.name, test.value, line, test.says)
		}
		if strings.Contains(line, "geheim") || strings.Contains(line, token) || strings.Contains(line, "\n") {
			t.Errorf("%s: a secret or a second line in %q", test.name, line)
		}
		if c == nil || c.Log.FileLevel != logging.Debug {
			t.Errorf("%s: the valid settings are lost", test.name)
		}
		if got := c.Source(test.name); got != "default" {
			t.Errorf("%s: source of the refused value = %q", test.name, got)
		}
	}
}

func TestPlainHTTPToLoopback(t *testing.T) {
	for _, url := range []string{"http://127.0.0.1:8080/Api", "http://127.9.9.9/Api", "http://[::1]:8080/Api", "http://localhost/Api", "http://LOCALHOST:1/Api"} {
		if c := mustLoad(t, "", "SIGNPATH_API_URL="+url); c.APIURL != url {
			t.Errorf("%s became %s", url, c.APIURL)
		}
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	_, err := load(t, `{"Log":{"File":{"Level":["x"]}},"Timeouts":{"RetryCount":-1}}`, "SIGNKIT_MAX_PARALLEL=many", "SIGNPATH_API_URL=x")
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for _, want := range []string{"Log.File.Level in file /", "Timeouts.RetryCount in file /", ", line 1: ", "SIGNKIT_MAX_PARALLEL", "SIGNPATH_API_URL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %q", want, lines)
		}
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct{ json, variable, says string }{
		{"", "SIGNPATH_APITOKEN=x", "did you mean SIGNPATH_API_TOKEN?"},
		{"", "SIGNKIT_CA_FIEL=x", "did you mean SIGNKIT_CA_FILE?"},
		{"", "signpath_api_url=x", "did you mean SIGNPATH_API_URL?"},
		{"", "SIGNKIT_ENTIRELY_DIFFERENT_MATTER=x", "SIGNKIT_ENTIRELY_DIFFERENT_MATTER is not a setting and is ignored"},
		{"", "SIGNPATH_LOG_LEVEL=info", "SIGNPATH_LOG_CONSOLE_LEVEL"},
		{"", "SIGNPATH_TIMEOUTS_SERVICE_UNAVAILABLE=1", "SIGNPATH_SERVICE_UNAVAILABLE_TIMEOUT_IN_SECONDS"},
		{`{"Timeouts":{"ServiceUnavailable":1}}`, "", "ServiceUnavailableTimeoutInSeconds"},
		{`{"ApiUlr":"https://sign.example"}`, "", "did you mean ApiUrl?"},
		{`{"Log":{"File":{"Direktory":"/x"}}}`, "", "did you mean Log.File.Directory?"},
		{`{"Log":"info"}`, "", `"Log" is not a setting`},
		{`{"SIGNPATH_API_URL":"https://sign.example"}`, "", "ApiUrl here"},
		{`{"SIGNKIT_CA_FILE":"x"}`, "", "environment variable"},
		{`{"SIGNPATH_API_TOKEN_FILE":"x"}`, "", "environment variable"},
		{`{"ApiUrl":{"x":1}}`, "", `"ApiUrl.x" is not a setting`},
		{`{"x":[[{"ApiUrl":"no"}],1]}`, "", `"x" is not a setting`},
	}
	for _, test := range tests {
		environ := []string{"SIGNKIT_TOKEND=/x", "SIGNKIT_NO_SKIP=1", "PATH=/bin"}
		if test.variable != "" {
			environ = append(environ, test.variable)
		}
		c := mustLoad(t, test.json, environ...)
		if got := c.Warnings(); len(got) != 1 || !strings.Contains(got[0], test.says) {
			t.Errorf("%s%s: warnings %q, want one that says %q", test.json, test.variable, got, test.says)
		}
		if c.APIURL != "https://app.signpath.io/Api" {
			t.Errorf("%s%s: APIURL = %q", test.json, test.variable, c.APIURL)
		}
	}
}

func TestWrongCaseIsAcceptedWithAWarning(t *testing.T) {
	c := mustLoad(t, `{"apiurl":"https://sign.example/Api","log":{"file":{"level":"info"}},"PROJECTSLUG":"a","ProjectSlug":"b"}`)
	if c.APIURL != "https://sign.example/Api" || c.Log.FileLevel != logging.Info || c.ProjectSlug != "b" {
		t.Errorf("got %q %v %q", c.APIURL, c.Log.FileLevel, c.ProjectSlug)
	}
	for i, want := range []string{"ApiUrl", "Log.File.Level", "ProjectSlug"} {
		if got := c.Warnings(); i >= len(got) || !strings.Contains(got[i], "spelled "+want) {
			t.Errorf("warnings %q lack %s", got, want)
		}
	}
}

func TestDuplicateKeys(t *testing.T) {
	c := mustLoad(t, "{\"ProjectSlug\":\"a\",\n\"ProjectSlug\":\"b\"}")
	if got := c.Warnings(); c.ProjectSlug != "b" || len(got) != 1 || !strings.Contains(got[0], "line 2") {
		t.Errorf("got %q, warnings %q", c.ProjectSlug, got)
	}
}

func TestUnusableFiles(t *testing.T) {
	tests := map[string]struct{ content, says string }{
		"syntax":        {"{\"ApiUrl\": \"ü\",\n  oops}", "c.json:2:3:"},
		"cut short":     {"{\"ApiUrl\":", "unexpected end"},
		"trailing data": {"{}\n{}", "c.json:2:1:"},
		"no object":     {`["x"]`, "not a JSON object"},
		"too deep":      {strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), "nested"},
		"too large":     {`{"a":"` + strings.Repeat("a", 1<<20) + `"}`, "larger"},
		"UTF-16":        {"\xff\xfe{\x00}\x00", "UTF-8"},
		"Latin-1":       {"{\"ApiUrl\":\"\xfc\"}", "UTF-8"},
		"empty":         {"\n", "unexpected end"},
	}
	for name, test := range tests {
		_, err := load(t, test.content)
		if err == nil || !strings.Contains(err.Error(), "SIGNPATH_CONFIG_FILE") || !strings.Contains(err.Error(), "c.json") || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error %v does not say %q", name, err, test.says)
		}
	}
	for _, path := range []string{"/does/not/exist.json", "/dev/zero", "/"} {
		_, err := load(t, "", "SIGNPATH_CONFIG_FILE="+path)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

func TestByteOrderMarkIsAccepted(t *testing.T) {
	if c := mustLoad(t, "\xef\xbb\xbf{\"ProjectSlug\":\"demo\"}"); c.ProjectSlug != "demo" {
		t.Errorf("got %q", c.ProjectSlug)
	}
}

// FuzzFile feeds the reader of configuration files: it must not panic, and what it
// accepts must be complete.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		`{"ApiUrl":"https://sign.example/Api","Log":{"File":{"Level":"info"}}}`, `{"Timeouts":{"RetryCount":3.0}}`,
		`{"a":[{"b":[1,2]},null]}`, "\xef\xbb\xbf{}", `{"ApiUrl":"a","ApiUrl":"b"}`, `{"a":1}x`, `[`, `{"a":{"b":{"c":`, `{"Log.File":{"Level":"\ud800"}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		c, err := load(t, content)
		if c == nil {
			t.Fatal("no Config")
		}
		if err == nil && (!strings.HasPrefix(c.APIURL, "http") || c.MaxParallel < 1 || c.Timeouts.HTTPRequest <= 0) {
			t.Errorf("accepted %+v", c)
		}
		for _, line := range c.Warnings() {
			if strings.Contains(line, "\n") {
				t.Errorf("warning of two lines: %q", line)
			}
		}
	})
}
