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
	doc      string // what it does, for the reference page; Markdown
	set      func(p *parser, c *Config, value string) error
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
	// AgentVariable sets Config.Agent.
	AgentVariable = "SIGNKIT_AGENT"
	// EventsVariable sets Config.Events.
	EventsVariable = "SIGNKIT_EVENTS"
)

// Canonical names that other code refers to.
const (
	organizationSetting = "OrganizationId"
	tokenSetting        = "ApiToken"
)

// settings returns the table, in the order of the documentation.
func settings() []setting {
	names := func(n ...string) []string { return n }
	return []setting{
		{names(organizationSetting), names("SIGNPATH_ORGANIZATION_ID"), "",
			"ID (UUID) of the organization; required unless the PIN contains it",
			setOrganization},
		{names(tokenSetting, "CIUserToken"), names("SIGNPATH_API_TOKEN", "SIGNPATH_CI_USER_TOKEN"), "",
			"API token of a CI or interactive user; required unless the PIN contains it. `SIGNPATH_API_TOKEN_FILE` " +
				"names a file that holds it, such as a Docker or Kubernetes secret; setting both is an error. The encrypted " +
				"and registry forms used on Windows are refused",
			setToken},
		{names("ApiUrl"), names("SIGNPATH_API_URL"), "https://app.signpath.io/Api",
			"address of the service: https, or http on a loopback address",
			setAPIURL},
		{names("TlsClientCertificate"), names("SIGNPATH_TLS_CLIENT_CERTIFICATE"), "",
			"thumbprint of a certificate in a Windows store; refused on Linux: use `SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE`",
			setTLSClientCertificate},
		{names("HttpProxy"), names("http_proxy"), "",
			"proxy to reach the service through, `HOST:PORT` or `SCHEME://[USER:PASSWORD@]HOST:PORT` with `http`, `https` " +
				"(TLS to the proxy itself) or `socks5`; the proxy resolves names",
			proxy(func(c *Config) *string { return &c.HTTPProxy })},
		{nil, names("https_proxy", "HTTPS_PROXY"), "",
			"proxy for https only; takes precedence over `http_proxy`",
			proxy(func(c *Config) *string { return &c.HTTPSProxy })},
		{nil, names("no_proxy", "NO_PROXY"), "",
			"hosts to reach without the proxy, separated by commas",
			text(func(c *Config) *string { return &c.NoProxy })},
		{names("ProjectSlug"), names("SIGNPATH_PROJECT_SLUG"), "",
			"show only keys of this project",
			slug(func(c *Config) *string { return &c.ProjectSlug })},
		{names("SigningPolicySlug"), names("SIGNPATH_SIGNING_POLICY_SLUG"), "",
			"show only the key of this signing policy; together with the project it names one key, which tools without " +
				"a key option then use",
			slug(func(c *Config) *string { return &c.SigningPolicySlug })},
		{names("Cryptoki.DoNotFailOnReadWriteSessions"), names("SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS"), "false",
			"`true` opens the read/write sessions that some PKCS#11 tools insist on (cosign, old pkcs11-tool) read-only " +
				"instead of refusing them",
			boolean(func(c *Config) *bool { return &c.AllowReadWriteSessions })},
		{names("IncludeDummyX509CertificateForGpgKeys"), names("SIGNPATH_INCLUDE_DUMMY_X509CERTIFICATE_FOR_GPG_KEYS"), "false",
			"`true` shows an unsigned X.509 certificate for each GPG key, for tools that ignore keys without one (gnupg-pkcs11-scd)",
			boolean(func(c *Config) *bool { return &c.IncludeDummyCertificate })},
		{names("Log.Console.Level"), names("SIGNPATH_LOG_CONSOLE_LEVEL"), "none",
			"`none`, `error`, `warning`, `info` or `debug`; also `fatal` (same as `none`) and `verbose` (same as `debug`); the images set `error`",
			level(func(c *Config) *logLevel { return &c.Log.ConsoleLevel })},
		{names("Log.Console.OutputStream"), names("SIGNPATH_LOG_CONSOLE_OUTPUT_STREAM"), "stderr",
			"`stderr` or `stdout`",
			oneOf(func(c *Config) *string { return &c.Log.ConsoleStream }, "stderr", "stdout")},
		{names("Log.File.Level"), names("SIGNPATH_LOG_FILE_LEVEL"), "warning",
			"as for the console",
			level(func(c *Config) *logLevel { return &c.Log.FileLevel })},
		{names("Log.File.Directory"), names("SIGNPATH_LOG_FILE_DIRECTORY"), "",
			"folder of `SignPath.CryptoProviders.<Interface>.txt`, created if missing; if unset, no log file is written",
			path(func(c *Config) *string { return &c.Log.FileDirectory })},
		{nil, names(EventsVariable), "",
			"file, or named pipe, to which each signature and failure is appended as a line of JSON ([fields](json.md))",
			path(func(c *Config) *string { return &c.Events })},
		{names("HttpRequestTimeoutInSeconds", "Timeouts.HttpRequest"),
			names("SIGNPATH_HTTP_REQUEST_TIMEOUT_IN_SECONDS", "SIGNPATH_TIMEOUTS_HTTP_REQUEST"), "30",
			"seconds that one attempt at a request may take",
			seconds(func(c *Config) *duration { return &c.Timeouts.HTTPRequest }, 0.001, 3600)},
		{names("Timeouts.FirstRetryDelay"), names("SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY"), "1.16",
			"seconds before the first retry; later ones wait longer",
			seconds(func(c *Config) *duration { return &c.Timeouts.FirstRetryDelay }, 0, 3600)},
		{names("Timeouts.RetryCount"), names("SIGNPATH_TIMEOUTS_RETRY_COUNT"), "10",
			"how often a request is retried after a timeout, a broken connection, 429 or 5xx",
			integer(func(c *Config) *int { return &c.Timeouts.RetryCount }, 0, 100)},
		{names("ServiceUnavailableTimeoutInSeconds"), names("SIGNPATH_SERVICE_UNAVAILABLE_TIMEOUT_IN_SECONDS"), "",
			"seconds for all retries together; replaces the retry count",
			seconds(func(c *Config) *duration { return &c.Timeouts.Total }, 0.001, 86400)},
		{nil, names("SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE"), "",
			"PEM file with a certificate, its issuers and its private key, for mutual TLS with the service",
			path(func(c *Config) *string { return &c.TLSClientCertificateFile })},
		{nil, names("SIGNKIT_CA_FILE"), "",
			"PEM file with root certificates to trust in addition to the system's",
			path(func(c *Config) *string { return &c.CAFile })},
		{nil, names("SIGNKIT_MAX_PARALLEL"), "8",
			"signatures that one process has under way at the same time, 1 to 64; unset, the bridge of gpg and an agent have 16",
			integer(func(c *Config) *int { return &c.MaxParallel }, 1, 64)},
		{nil, names("SIGNKIT_DESCRIPTION"), "",
			"text recorded with each signing request",
			description},
		{nil, names("SIGNKIT_CERTIFICATE_CHAIN_FILE"), "",
			"PEM file with the issuers of the signing certificates, if the service does not deliver them",
			path(func(c *Config) *string { return &c.CertificateChainFile })},
		{nil, names("SIGNKIT_SIGN_ROUTE"), RouteAuto,
			"pins one generation of the service's signing call instead of trying the newest first: `auto`, `sign-hash`" +
				", `submit-with-artifact` or `signing-requests`",
			oneOf(func(c *Config) *string { return &c.SignRoute },
				RouteAuto, RouteSignHash, RouteSubmitWithArtifact, RouteSigningRequests)},
		{nil, names(AgentVariable), "",
			"socket of the agent that signs for this job: set by `signkit run`, or to what `signkit agent` prints; no token is needed then",
			path(func(c *Config) *string { return &c.Agent })},
		{nil, names("SSL_CERT_FILE"), "",
			"PEM file that replaces the system's root certificates",
			path(func(c *Config) *string { return &c.SSLCertFile })},
		{nil, names("SSL_CERT_DIR"), "",
			"folders of root certificates, separated by colons, that replace the system's",
			pathList(func(c *Config) *string { return &c.SSLCertDir })},
	}
}

// Setting describes one setting, for reference pages and diagnosis.
type Setting struct {
	JSON        []string // names in the file, the current one first; dots are nesting; may be empty
	Environment []string // names of variables, the current one first
	Default     string   // empty: not set
	Doc         string   // what it does; Markdown
}

// Settings returns every setting in the order of the documentation.
func Settings() []Setting {
	var list []Setting
	for _, s := range settings() {
		row := Setting{s.json, s.env, s.fallback, s.doc}
		if s.name() == tokenSetting {
			row.Environment = append(row.Environment, tokenFileVariable)
		}
		list = append(list, row)
	}
	return list
}

// settingNamed finds a row by any of its names; nil if there is none.
func settingNamed(name string) *setting {
	if name == tokenFileVariable {
		name = tokenSetting
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
	return []string{"SIGNKIT_TOKEND", "SIGNKIT_SCDAEMON", "SIGNKIT_NO_SKIP", "SIGNKIT_TSA_URL"}
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
