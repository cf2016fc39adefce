// Package config reads the settings: a JSON file, environment variables and the PIN
// that a PKCS#11 tool passes. It is the only package that looks at the environment.
package config

import (
	"errors"
	"fmt"
	"time"

	"signkit/internal/logging"
)

// Config holds every setting, validated. Paths are absolute. It is not changed after
// Load; WithPIN returns a copy.
type Config struct {
	// OrganizationID is the organization's uuid; empty when only a PIN brings it.
	OrganizationID string
	// APIToken authenticates the user; empty when only a PIN brings it.
	APIToken Secret
	// APIURL is the service's base URL without a trailing slash. It is https, or http to
	// a loopback address.
	APIURL string
	// TLSClientCertificateFile is a PEM file with a certificate, its chain and its private
	// key, shown to the service during the TLS handshake.
	TLSClientCertificateFile string
	// CAFile is a PEM file with roots that are trusted besides the system's.
	CAFile string

	// HTTPProxy is the proxy's URL, "http://[user:password@]host:port" or with https, socks5 or
	// socks5h, for plain http and, unless HTTPSProxy is set, for https as well. It may hold a password: see Secrets.
	HTTPProxy string
	// HTTPSProxy is the proxy's URL for https alone.
	HTTPSProxy string
	// NoProxy lists hosts that are reached directly, in the usual comma-separated form.
	NoProxy string

	// Agent is the socket of an agent, which has the credentials and signs for this process; empty: there is none.
	Agent string

	// ProjectSlug and SigningPolicySlug narrow what is shown; either may be empty.
	ProjectSlug, SigningPolicySlug string

	// AllowReadWriteSessions opens PKCS#11 read/write sessions instead of refusing them
	// with CKR_TOKEN_WRITE_PROTECTED, for tools that know no other.
	AllowReadWriteSessions bool
	// IncludeDummyCertificate shows an X.509 certificate for each GPG key.
	IncludeDummyCertificate bool

	Log      Log
	Timeouts Timeouts

	// Events is the file to which signatures and failures are appended (package event); empty: none.
	Events string

	// MaxParallel bounds the signatures under way at the same time, 1 to 64.
	MaxParallel int
	// Description is filed with each signing request; empty: the client's own.
	Description string
	// CertificateChainFile is a PEM file with issuer certificates that the service does
	// not deliver.
	CertificateChainFile string
	// SignRoute pins one generation of the signing call: RouteAuto, RouteSignHash,
	// RouteSubmitWithArtifact or RouteSigningRequests.
	SignRoute string

	// CI is what the continuous integration system says about the job.
	CI CI

	// SSLCertFile and SSLCertDir replace the system's own file and (colon-separated)
	// directories of trusted roots, as OpenSSL reads SSL_CERT_FILE and SSL_CERT_DIR.
	SSLCertFile, SSLCertDir string

	misplaced Secret            // the value of SIGNPATH_API_TOKEN_FILE where it is no file: a token, perhaps
	sources   map[string]string // by canonical name of the setting
	warnings  []string
}

// Log says where log records go and which.
type Log struct {
	ConsoleLevel  logging.Level
	ConsoleStream string // "stderr" or "stdout"
	FileLevel     logging.Level
	FileDirectory string // empty: no file
}

// Timeouts bound the calls to the service.
type Timeouts struct {
	HTTPRequest     time.Duration // one attempt
	FirstRetryDelay time.Duration // later ones grow from it
	RetryCount      int           // after the first attempt
	Total           time.Duration // one call over all attempts; 0: not set
}

// CI identifies a job of a continuous integration system; fields it does not know are empty.
type CI struct {
	JobURL string
	Commit string // hash of the version control system
}

// Values of Config.SignRoute; signpath-service generations C, B and A.
const (
	RouteAuto               = "auto"
	RouteSignHash           = "sign-hash"
	RouteSubmitWithArtifact = "submit-with-artifact"
	RouteSigningRequests    = "signing-requests"
)

// Warnings returns what Load found odd but could live with, one line each.
func (c *Config) Warnings() []string { return append([]string(nil), c.warnings...) }

// Source says where a setting's value came from, for example "environment variable
// SIGNPATH_API_URL", "file /etc/signkit.json", "PIN" or "default". The setting may be
// given by any of its names, JSON or environment; an unknown one yields "".
func (c *Config) Source(setting string) string {
	s := settingNamed(setting)
	if s == nil {
		return ""
	}
	if source := c.sources[s.name()]; source != "" {
		return source
	}
	return "default"
}

// CheckCredentials returns an error that names the settings when the organization or the
// token is missing. Where an agent has them, none are needed.
func (c *Config) CheckCredentials() error {
	if c.Agent != "" {
		return nil
	}
	var problems []error
	if c.OrganizationID == "" {
		problems = append(problems, errors.New("no organization: set SIGNPATH_ORGANIZATION_ID"+
			" (OrganizationId in the configuration file), or pass the PIN ORGANIZATION_ID:API_TOKEN"))
	}
	if c.APIToken.IsZero() {
		problems = append(problems, errors.New("no API token: set SIGNPATH_API_TOKEN or SIGNPATH_API_TOKEN_FILE"+
			" (ApiToken in the configuration file), or pass the PIN ORGANIZATION_ID:API_TOKEN"))
	}
	return errors.Join(problems...)
}

func (c *Config) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}
