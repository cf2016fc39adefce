package mockapi

import (
	"fmt"
	"net"
	"strings"
)

// BaseURL is scheme, host and port: the admin side and /tsa lie below it.
func (s *Server) BaseURL() string { return s.base }

// APIURL is the base URL of the API, without a trailing slash.
func (s *Server) APIURL() string { return s.base + "/Api" }

// TSAURL is the address of the time-stamp authority.
func (s *Server) TSAURL() string { return s.base + "/tsa" }

// OrganizationID is the UUID of the first organization.
func (s *Server) OrganizationID() string { return s.orgs[0].id }

// Token is that of the first organization's first user, who may submit to
// every policy of the built-in configuration.
func (s *Server) Token() string { return s.tokens[0] }

// SecondToken is that of its second user, who may submit to none; "" without one.
func (s *Server) SecondToken() string {
	if len(s.tokens) < 2 {
		return ""
	}
	return s.tokens[1]
}

// CAFile holds the authority of the server certificate (PEM); "" over plain HTTP.
func (s *Server) CAFile() string {
	if strings.HasPrefix(s.base, "http:") {
		return ""
	}
	return s.state.file("ca.pem")
}

// RootFile holds the root of the signing and time-stamping certificates (PEM).
func (s *Server) RootFile() string { return s.state.file("signing-root.pem") }

// AuditFile holds one JSON object per signature and line.
func (s *Server) AuditFile() string { return s.state.file("audit.jsonl") }

// Environment is what a client needs to use the service as its first user, in the form of os.Environ.
func (s *Server) Environment() []string {
	env := []string{
		"SIGNPATH_API_URL=" + s.APIURL(),
		"SIGNPATH_ORGANIZATION_ID=" + s.OrganizationID(),
		"SIGNPATH_API_TOKEN=" + s.Token(),
		"SIGNKIT_TSA_URL=" + s.TSAURL(),
	}
	if file := s.CAFile(); file != "" {
		env = append(env, "SIGNKIT_CA_FILE="+file)
	}
	return env
}

// writeFiles writes what others read: the environment as shell lines, both
// roots, and the address for CheckHealth.
func (s *Server) writeFiles(caPEM []byte, address *net.TCPAddr) error {
	if caPEM != nil {
		if err := s.state.write("ca.pem", caPEM, 0o644); err != nil {
			return err
		}
	}
	if err := s.state.write("signing-root.pem", pemCertificate(s.ca.root().cert), 0o644); err != nil {
		return err
	}
	if err := s.state.write(localURLFile, []byte(s.localURL(address)+"\n"), 0o600); err != nil {
		return err
	}
	var b strings.Builder
	for _, line := range s.Environment() {
		name, value, _ := strings.Cut(line, "=")
		fmt.Fprintf(&b, "export %s=%s\n", name, shellQuote(value))
	}
	return s.state.write("env", []byte(b.String()), 0o600)
}

// localURL is where the service answers on this machine, whatever its public name is.
func (s *Server) localURL(address *net.TCPAddr) string {
	ip := address.IP
	if ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	scheme, _, _ := strings.Cut(s.base, ":")
	return scheme + "://" + net.JoinHostPort(ip.String(), fmt.Sprint(address.Port)) + "/Api"
}

const localURLFile = "keys/local-url"

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
