package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"signkit/internal/config"
	"signkit/internal/logging"
)

const (
	organization = "0c1f6f4e-93b0-4c8a-9d0a-7b1de0c1a2b3"
	token        = "AKgYsUq5v0x/Hy3l+Zt9oPq2Wc7dRf4uBn6mXe8sTi0="
)

// load reads an environment of NAME=value entries, and a file when json is not empty.
func load(t *testing.T, json string, environ ...string) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	if json != "" {
		write(t, filepath.Join(dir, "c.json"), json)
		environ = append(environ, "SIGNPATH_CONFIG_FILE=c.json")
	}
	return config.Load(environ, dir)
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustLoad(t *testing.T, json string, environ ...string) *config.Config {
	t.Helper()
	c, err := load(t, json, environ...)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, "")
	if c.APIURL != "https://app.signpath.io/Api" {
		t.Errorf("APIURL = %q", c.APIURL)
	}
	if want := (config.Log{ConsoleLevel: logging.None, ConsoleStream: "stderr", FileLevel: logging.Warning}); c.Log != want {
		t.Errorf("Log = %+v, want %+v", c.Log, want)
	}
	want := config.Timeouts{HTTPRequest: 30 * time.Second, FirstRetryDelay: 1160 * time.Millisecond, RetryCount: 10}
	if c.Timeouts != want {
		t.Errorf("Timeouts = %+v, want %+v", c.Timeouts, want)
	}
	if c.MaxParallel != 8 || c.SignRoute != config.RouteAuto || c.AllowReadWriteSessions || c.IncludeDummyCertificate {
		t.Errorf("defaults = %+v", c)
	}
	if len(c.Warnings()) > 0 {
		t.Errorf("warnings: %q", c.Warnings())
	}
	for _, s := range config.Settings() {
		for _, name := range append(s.JSON, s.Environment...) {
			if got := c.Source(name); got != "default" {
				t.Errorf("Source(%s) = %q", name, got)
			}
		}
	}
	if got := c.Source("NoSuchSetting"); got != "" {
		t.Errorf("Source of an unknown setting = %q", got)
	}
}

// samples has, for each setting by its first name, a value that is not the default and
// what reads it back.
var samples = map[string]struct {
	value string
	get   func(*config.Config) any
	want  any
}{
	"OrganizationId":       {organization, func(c *config.Config) any { return c.OrganizationID }, organization},
	"ApiToken":             {token, func(c *config.Config) any { return c.APIToken.Reveal() }, token},
	"ApiUrl":               {"https://sign.example/Api/", func(c *config.Config) any { return c.APIURL }, "https://sign.example/Api"},
	"HttpProxy":            {"proxy.example:3128", func(c *config.Config) any { return c.HTTPProxy }, "http://proxy.example:3128"},
	"https_proxy":          {"http://u:p%40ss@proxy.example:3128/", func(c *config.Config) any { return c.HTTPSProxy }, "http://u:p%40ss@proxy.example:3128"},
	"no_proxy":             {"localhost,.example", func(c *config.Config) any { return c.NoProxy }, "localhost,.example"},
	"ProjectSlug":          {"demo", func(c *config.Config) any { return c.ProjectSlug }, "demo"},
	"SigningPolicySlug":    {"release-signing", func(c *config.Config) any { return c.SigningPolicySlug }, "release-signing"},
	"Log.Console.Level":    {"verbose", func(c *config.Config) any { return c.Log.ConsoleLevel }, logging.Verbose},
	"Log.File.Level":       {"fatal", func(c *config.Config) any { return c.Log.FileLevel }, logging.Fatal},
	"Log.File.Directory":   {"/var/log/x", func(c *config.Config) any { return c.Log.FileDirectory }, "/var/log/x"},
	"Timeouts.RetryCount":  {"3", func(c *config.Config) any { return c.Timeouts.RetryCount }, 3},
	"SIGNKIT_CA_FILE":      {"/ca.pem", func(c *config.Config) any { return c.CAFile }, "/ca.pem"},
	"SIGNKIT_MAX_PARALLEL": {"5", func(c *config.Config) any { return c.MaxParallel }, 5},
	"SIGNKIT_DESCRIPTION":  {"nightly build", func(c *config.Config) any { return c.Description }, "nightly build"},
	"SIGNKIT_SIGN_ROUTE":   {"sign-hash", func(c *config.Config) any { return c.SignRoute }, "sign-hash"},
	"SIGNKIT_AGENT":        {"/run/agent", func(c *config.Config) any { return c.Agent }, "/run/agent"},
	"SIGNKIT_EVENTS":       {"/run/events", func(c *config.Config) any { return c.Events }, "/run/events"},
	"SSL_CERT_FILE":        {"/roots.pem", func(c *config.Config) any { return c.SSLCertFile }, "/roots.pem"},
	"SSL_CERT_DIR":         {"/a:/b", func(c *config.Config) any { return c.SSLCertDir }, "/a:/b"},
	"HttpRequestTimeoutInSeconds": {"0.25",
		func(c *config.Config) any { return c.Timeouts.HTTPRequest }, 250 * time.Millisecond},
	"Timeouts.FirstRetryDelay": {"1.5",
		func(c *config.Config) any { return c.Timeouts.FirstRetryDelay }, 1500 * time.Millisecond},
	"ServiceUnavailableTimeoutInSeconds": {"600",
		func(c *config.Config) any { return c.Timeouts.Total }, 10 * time.Minute},
	"Log.Console.OutputStream": {"stdout",
		func(c *config.Config) any { return c.Log.ConsoleStream }, "stdout"},
	"Cryptoki.DoNotFailOnReadWriteSessions": {"true",
		func(c *config.Config) any { return c.AllowReadWriteSessions }, true},
	"IncludeDummyX509CertificateForGpgKeys": {"true",
		func(c *config.Config) any { return c.IncludeDummyCertificate }, true},
	"SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE": {"/c.pem",
		func(c *config.Config) any { return c.TLSClientCertificateFile }, "/c.pem"},
	"SIGNKIT_CERTIFICATE_CHAIN_FILE": {"/chain.pem",
		func(c *config.Config) any { return c.CertificateChainFile }, "/chain.pem"},
}

func TestEveryNameOfEverySettingIsRead(t *testing.T) {
	for _, s := range config.Settings() {
		names := append(append([]string{}, s.JSON...), s.Environment...)
		if names[0] == "TlsClientCertificate" {
			continue // every value is an error here
		}
		sample, ok := samples[names[0]]
		if !ok {
			t.Errorf("no sample for %s", names[0])
			continue
		}
		for _, name := range s.Environment {
			value := sample.value
			if name == "SIGNPATH_API_TOKEN_FILE" {
				value = filepath.Join(t.TempDir(), "token")
				write(t, value, sample.value+"\n")
			}
			c := mustLoad(t, "", name+"="+value)
			if got := sample.get(c); got != sample.want {
				t.Errorf("%s: got %v, want %v", name, got, sample.want)
			}
			if !strings.Contains(c.Source(names[0]), "environment variable "+name) {
				t.Errorf("%s: source %q", name, c.Source(name))
			}
			if !slices.Contains(config.EnvironmentNames(), name) {
				t.Errorf("%s is not in EnvironmentNames", name)
			}
		}
		for _, name := range s.JSON {
			for form, text := range map[string]string{"nested": nested(name, `"`+sample.value+`"`), "dotted": `{"` + name + `":"` + sample.value + `"}`} {
				c := mustLoad(t, text)
				if got := sample.get(c); got != sample.want {
					t.Errorf("%s %s: got %v, want %v", form, name, got, sample.want)
				}
				if !strings.HasPrefix(c.Source(name), "file /") || len(c.Warnings()) > 0 {
					t.Errorf("%s %s: source %q, warnings %q", form, name, c.Source(name), c.Warnings())
				}
			}
		}
	}
}

// nested writes "A.B" as {"A":{"B":value}}.
func nested(name, value string) string {
	parts := strings.Split(name, ".")
	return `{"` + strings.Join(parts, `":{"`) + `":` + value + strings.Repeat("}", len(parts))
}

func TestNumbersAndBooleansMayBeJSONValues(t *testing.T) {
	c := mustLoad(t, `{"Timeouts":{"HttpRequest":12.5,"RetryCount":2.0,"FirstRetryDelay":0},
		"Cryptoki":{"DoNotFailOnReadWriteSessions":true},"IncludeDummyX509CertificateForGpgKeys":1,"ProjectSlug":null}`)
	want := config.Timeouts{HTTPRequest: 12500 * time.Millisecond, RetryCount: 2}
	if c.Timeouts != want || !c.AllowReadWriteSessions || !c.IncludeDummyCertificate || c.ProjectSlug != "" {
		t.Errorf("got %+v", c)
	}
	if got := c.Source("ProjectSlug"); got != "default" {
		t.Errorf("source of a null = %q", got)
	}
}

func TestEnvironmentWinsOverFile(t *testing.T) {
	c := mustLoad(t, `{"ProjectSlug":"from-file","SigningPolicySlug":"from-file","ApiToken":"file-token"}`,
		"SIGNPATH_PROJECT_SLUG=from-environment", "SIGNPATH_SIGNING_POLICY_SLUG=", "SIGNPATH_CI_USER_TOKEN=old-name")
	if c.ProjectSlug != "from-environment" || c.SigningPolicySlug != "from-file" || c.APIToken.Reveal() != "old-name" {
		t.Errorf("got %q %q %q", c.ProjectSlug, c.SigningPolicySlug, c.APIToken.Reveal())
	}
	if got := c.Source("ApiToken"); got != "environment variable SIGNPATH_CI_USER_TOKEN" {
		t.Errorf("source of the token = %q", got)
	}
}

func TestNewerNameWinsWithAWarning(t *testing.T) {
	c := mustLoad(t, `{"Timeouts":{"HttpRequest":1},"HttpRequestTimeoutInSeconds":2}`)
	if c.Timeouts.HTTPRequest != 2*time.Second || !strings.Contains(strings.Join(c.Warnings(), "\n"), "Timeouts.HttpRequest") {
		t.Errorf("file: %v, warnings %q", c.Timeouts.HTTPRequest, c.Warnings())
	}
	c = mustLoad(t, "", "SIGNPATH_TIMEOUTS_HTTP_REQUEST=1", "SIGNPATH_HTTP_REQUEST_TIMEOUT_IN_SECONDS=2")
	if c.Timeouts.HTTPRequest != 2*time.Second || len(c.Warnings()) != 1 {
		t.Errorf("environment: %v, warnings %q", c.Timeouts.HTTPRequest, c.Warnings())
	}
}

func TestProxyVariables(t *testing.T) {
	c := mustLoad(t, "", "HTTP_PROXY=http://attacker.example:1", "HTTPS_PROXY=upper.example:2", "https_proxy=lower.example:3", "NO_PROXY=a")
	if c.HTTPProxy != "" || c.HTTPSProxy != "http://lower.example:3" || c.NoProxy != "a" || len(c.Warnings()) > 0 {
		t.Errorf("got %q %q %q, warnings %q", c.HTTPProxy, c.HTTPSProxy, c.NoProxy, c.Warnings())
	}
	for _, url := range []string{"https://me:geheim@proxy.example:443", "socks5://127.0.0.1:1080", "socks5h://me:geheim@proxy.example:1080"} {
		if c := mustLoad(t, "", "https_proxy="+url); c.HTTPSProxy != url {
			t.Errorf("%s became %q", url, c.HTTPSProxy)
		}
	}
	c = mustLoad(t, "", "http_proxy=http://user:geheim%2B1@[::1]:8080", "SIGNPATH_API_TOKEN="+token)
	if c.HTTPProxy != "http://user:geheim+1@[::1]:8080" {
		t.Errorf("HTTPProxy = %q", c.HTTPProxy)
	}
	if got := c.Secrets(); !slices.Contains(got, "geheim+1") || !slices.Contains(got, token) {
		t.Errorf("%d secrets; the token or the proxy's password is not among them", len(got))
	}
}

func TestRelativePathsAreResolved(t *testing.T) {
	c, err := config.Load([]string{"SIGNKIT_CA_FILE=ca.pem", "SSL_CERT_DIR=a:/b", "SIGNPATH_LOG_FILE_DIRECTORY=../logs"}, "/home/build/x")
	if err != nil {
		t.Fatal(err)
	}
	if c.CAFile != "/home/build/x/ca.pem" || c.SSLCertDir != "/home/build/x/a:/b" || c.Log.FileDirectory != "/home/build/logs" {
		t.Errorf("got %q %q %q", c.CAFile, c.SSLCertDir, c.Log.FileDirectory)
	}
}

func TestFirstOfEqualVariablesCounts(t *testing.T) {
	if c := mustLoad(t, "", "SIGNPATH_PROJECT_SLUG=one", "SIGNPATH_PROJECT_SLUG=two"); c.ProjectSlug != "one" {
		t.Errorf("got %q", c.ProjectSlug)
	}
}

func TestTokenFile(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"lf": token + "\n", "crlf": token + "\r\n", "bare": token} {
		write(t, filepath.Join(dir, name), content)
		c, err := config.Load([]string{"SIGNPATH_API_TOKEN_FILE=" + name}, dir)
		if err != nil || c.APIToken.Reveal() != token {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(t, filepath.Join(dir, "empty"), "\n")
	write(t, filepath.Join(dir, "large"), strings.Repeat("a", 1<<20))
	write(t, filepath.Join(dir, "two"), token+"\nsecond")
	// The last is what a CI system gives whose variable is of the wrong type: its name is a secret, so none is shown.
	for _, name := range []string{"empty", "large", "two", "missing", ".", token} {
		c, err := config.Load([]string{"SIGNPATH_API_TOKEN_FILE=" + name}, dir)
		if err == nil || !strings.Contains(err.Error(), "SIGNPATH_API_TOKEN_FILE") || strings.Contains(err.Error(), filepath.Join(dir, name)) {
			t.Errorf("%s: error %v", name, err)
		}
		if !c.APIToken.IsZero() || err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: a token was taken or shown", name)
		}
		if secret := slices.Contains(c.Secrets(), name); secret != (name == "missing" || name == token) {
			t.Errorf("%s: that its name is to be hidden in all that is printed: %v", name, secret)
		}
	}
}

func TestTokenAndTokenFileExcludeEachOther(t *testing.T) {
	for _, name := range []string{"SIGNPATH_API_TOKEN", "SIGNPATH_CI_USER_TOKEN"} {
		_, err := load(t, "", name+"="+token, "SIGNPATH_API_TOKEN_FILE=/run/secrets/token")
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "SIGNPATH_API_TOKEN_FILE") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestCheckCredentials(t *testing.T) {
	c := mustLoad(t, "")
	err := c.CheckCredentials()
	if err == nil || !strings.Contains(err.Error(), "SIGNPATH_ORGANIZATION_ID") || !strings.Contains(err.Error(), "SIGNPATH_API_TOKEN") {
		t.Errorf("without both: %v", err)
	}
	c = mustLoad(t, "", "SIGNPATH_ORGANIZATION_ID="+organization, "SIGNPATH_API_TOKEN="+token)
	if err := c.CheckCredentials(); err != nil {
		t.Errorf("with both: %v", err)
	}
}

func TestContinuousIntegration(t *testing.T) {
	tests := map[string]struct {
		environ []string
		want    config.CI
	}{
		"none": {[]string{"CI=true", "GIT_COMMIT=abc"}, config.CI{}},
		"GitLab": {[]string{"CI_JOB_URL=https://gitlab.example/g/p/-/jobs/7", "CI_COMMIT_SHA=1f"},
			config.CI{JobURL: "https://gitlab.example/g/p/-/jobs/7", Commit: "1f"}},
		"GitHub": {[]string{"GITHUB_SERVER_URL=https://github.example", "GITHUB_REPOSITORY=o/r", "GITHUB_RUN_ID=42", "GITHUB_SHA=2f"},
			config.CI{JobURL: "https://github.example/o/r/actions/runs/42", Commit: "2f"}},
		"Jenkins": {[]string{"BUILD_URL=https://u:pw@jenkins.example/job/a%20b/3/", "GIT_COMMIT=3f"},
			config.CI{JobURL: "https://jenkins.example/job/a%20b/3/", Commit: "3f"}},
		"Azure": {[]string{"SYSTEM_COLLECTIONURI=https://dev.example/org/", "SYSTEM_TEAMPROJECT=My Project", "BUILD_BUILDID=9", "BUILD_SOURCEVERSION=4f"},
			config.CI{JobURL: "https://dev.example/org/My%20Project/_build/results?buildId=9", Commit: "4f"}},
		"line break": {[]string{"CI_JOB_URL=https://gitlab.example/\nx", "CI_COMMIT_SHA=5f\n"}, config.CI{}},
	}
	for name, test := range tests {
		if c := mustLoad(t, "", test.environ...); c.CI != test.want {
			t.Errorf("%s: got %+v, want %+v", name, c.CI, test.want)
		}
	}
}
