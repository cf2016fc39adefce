package config

import (
	"slices"
	"strings"
)

// setting is one row of the table that drives everything: names, default and setter.
// Of several names the first is the current one and wins over the older ones.
type setting struct {
	json     []string // dots are nesting
	env      []string
	fallback string // default, in the form a person would write; empty: unset
	set      func(p *parser, c *Config, value string) error
	secret   bool // never quote the value
}

// name is the canonical name, under which the source is remembered.
func (s *setting) name() string {
	if len(s.json) > 0 {
		return s.json[0]
	}
	return s.env[0]
}

// Names of environment variables that Load handles outside the table.
const (
	configFileVariable = "SIGNPATH_CONFIG_FILE"
	tokenFileVariable  = "SIGNPATH_API_TOKEN_FILE"
)

// settings returns the table, in the order of the documentation.
func settings() []setting {
	names := func(n ...string) []string { return n }
	return []setting{
		{names("OrganizationId"), names("SIGNPATH_ORGANIZATION_ID"), "", setOrganization, false},
		{names("ApiToken", "CIUserToken"), names("SIGNPATH_API_TOKEN", "SIGNPATH_CI_USER_TOKEN"), "", setToken, true},
		{names("ApiUrl"), names("SIGNPATH_API_URL"), "https://app.signpath.io/Api", setAPIURL, false},
		{names("TlsClientCertificate"), names("SIGNPATH_TLS_CLIENT_CERTIFICATE"), "", setTLSClientCertificate, false},
		{names("HttpProxy"), names("http_proxy"), "", proxy(func(c *Config) *string { return &c.HTTPProxy }), true},
		{nil, names("https_proxy", "HTTPS_PROXY"), "", proxy(func(c *Config) *string { return &c.HTTPSProxy }), true},
		{nil, names("no_proxy", "NO_PROXY"), "", text(func(c *Config) *string { return &c.NoProxy }), false},
		{names("ProjectSlug"), names("SIGNPATH_PROJECT_SLUG"), "", slug(func(c *Config) *string { return &c.ProjectSlug }), false},
		{names("SigningPolicySlug"), names("SIGNPATH_SIGNING_POLICY_SLUG"), "",
			slug(func(c *Config) *string { return &c.SigningPolicySlug }), false},
		{names("Cryptoki.DoNotFailOnReadWriteSessions"), names("SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS"), "false",
			boolean(func(c *Config) *bool { return &c.AllowReadWriteSessions }), false},
		{names("IncludeDummyX509CertificateForGpgKeys"), names("SIGNPATH_INCLUDE_DUMMY_X509CERTIFICATE_FOR_GPG_KEYS"), "false",
			boolean(func(c *Config) *bool { return &c.IncludeDummyCertificate }), false},
		{names("Log.Console.Level"), names("SIGNPATH_LOG_CONSOLE_LEVEL"), "none", level(func(c *Config) *logLevel { return &c.Log.ConsoleLevel }), false},
		{names("Log.Console.OutputStream"), names("SIGNPATH_LOG_CONSOLE_OUTPUT_STREAM"), "stderr",
			oneOf(func(c *Config) *string { return &c.Log.ConsoleStream }, "stderr", "stdout"), false},
		{names("Log.File.Level"), names("SIGNPATH_LOG_FILE_LEVEL"), "warning", level(func(c *Config) *logLevel { return &c.Log.FileLevel }), false},
		{names("Log.File.Directory"), names("SIGNPATH_LOG_FILE_DIRECTORY"), "", path(func(c *Config) *string { return &c.Log.FileDirectory }), false},
		{names("HttpRequestTimeoutInSeconds", "Timeouts.HttpRequest"),
			names("SIGNPATH_HTTP_REQUEST_TIMEOUT_IN_SECONDS", "SIGNPATH_TIMEOUTS_HTTP_REQUEST"), "30",
			seconds(func(c *Config) *duration { return &c.Timeouts.HTTPRequest }, 0.001, 3600), false},
		{names("Timeouts.FirstRetryDelay"), names("SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY"), "1.16",
			seconds(func(c *Config) *duration { return &c.Timeouts.FirstRetryDelay }, 0, 3600), false},
		{names("Timeouts.RetryCount"), names("SIGNPATH_TIMEOUTS_RETRY_COUNT"), "10",
			integer(func(c *Config) *int { return &c.Timeouts.RetryCount }, 0, 100), false},
		{names("ServiceUnavailableTimeoutInSeconds"), names("SIGNPATH_SERVICE_UNAVAILABLE_TIMEOUT_IN_SECONDS"), "",
			seconds(func(c *Config) *duration { return &c.Timeouts.Total }, 0.001, 86400), false},
		{nil, names("SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE"), "", path(func(c *Config) *string { return &c.TLSClientCertificateFile }), false},
		{nil, names("SIGNKIT_CA_FILE"), "", path(func(c *Config) *string { return &c.CAFile }), false},
		{nil, names("SIGNKIT_MAX_PARALLEL"), "8", integer(func(c *Config) *int { return &c.MaxParallel }, 1, 64), false},
		{nil, names("SIGNKIT_DESCRIPTION"), "", description, false},
		{nil, names("SIGNKIT_CERTIFICATE_CHAIN_FILE"), "", path(func(c *Config) *string { return &c.CertificateChainFile }), false},
		{nil, names("SIGNKIT_SIGN_ROUTE"), RouteAuto, oneOf(func(c *Config) *string { return &c.SignRoute },
			RouteAuto, RouteSignHash, RouteSubmitWithArtifact, RouteSigningRequests), false},
		{nil, names("SSL_CERT_FILE"), "", path(func(c *Config) *string { return &c.SSLCertFile }), false},
		{nil, names("SSL_CERT_DIR"), "", pathList(func(c *Config) *string { return &c.SSLCertDir }), false},
	}
}

// settingNamed finds a row by any of its names; nil if there is none.
func settingNamed(name string) *setting {
	if name == tokenFileVariable {
		name = "ApiToken"
	}
	table := settings()
	for i := range table {
		if slices.Contains(table[i].json, name) || slices.Contains(table[i].env, name) {
			return &table[i]
		}
	}
	return nil
}

// ignoredVariables belong to other programs of this project: no warning for them.
func ignoredVariables() []string {
	return []string{"SIGNKIT_TOKEND", "SIGNKIT_NO_SKIP", "SIGNKIT_TSA_URL", "SIGNKIT_PROXY_SOCKET"}
}

// dead returns names that older programs read, and what to say about them.
func dead() map[string]string {
	const total = "SIGNPATH_SERVICE_UNAVAILABLE_TIMEOUT_IN_SECONDS"
	return map[string]string{
		"SIGNPATH_LOG_LEVEL":                    "SIGNPATH_LOG_CONSOLE_LEVEL and SIGNPATH_LOG_FILE_LEVEL",
		"SIGNPATH_TIMEOUTS_SERVICE_UNAVAILABLE": total,
		"Log.Level":                             "Log.Console.Level and Log.File.Level",
		"Timeouts.ServiceUnavailable":           "ServiceUnavailableTimeoutInSeconds",
	}
}

// EnvironmentNames lists, sorted, every environment variable that has an effect on Load:
// the exact names, and nothing that is only warned about.
func EnvironmentNames() []string {
	list := []string{configFileVariable, tokenFileVariable}
	for _, s := range settings() {
		list = append(list, s.env...)
	}
	list = append(list, ciVariables()...)
	slices.SortFunc(list, strings.Compare)
	return slices.Compact(list)
}
