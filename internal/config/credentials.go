package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// uuid has the form 01234567-89ab-cdef-0123-456789abcdef.
var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// CredentialVariables are the environment variables that hold credentials, or name a file that does:
// what an agent keeps from the programs that it signs for.
func CredentialVariables() []string {
	list := []string{configFileVariable, tokenFileVariable}
	for _, s := range settings() {
		switch s.name() {
		case tokenSetting, "TlsClientCertificate", "SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE":
			list = append(list, s.env...)
		}
	}
	return list
}

// RESTSocket is the socket beside an agent's own, where it answers as the service would.
func RESTSocket(agent string) string { return agent + ".rest" }

func setOrganization(_ *parser, c *Config, value string) error {
	word := strings.TrimSpace(value)
	first, _, pin := strings.Cut(word, ":")
	switch {
	case pin && uuid.MatchString(first):
		return errors.New("it holds a token as well; leave the uuid here and put what follows the colon into SIGNPATH_API_TOKEN")
	case !uuid.MatchString(word): // not shown: it may be the token, in the wrong place
		return errors.New("it is not a uuid; copy the organization's id, in the form 01234567-89ab-cdef-0123-456789abcdef")
	}
	c.OrganizationID = word
	return nil
}

func setToken(_ *parser, c *Config, value string) error {
	if err := checkToken(value); err != nil {
		return err
	}
	c.APIToken = NewSecret(value)
	return nil
}

// longestToken bounds a token in bytes: it travels in one header line.
const longestToken = 16 << 10

// checkToken says what is wrong with a token, never showing any of it.
func checkToken(token string) error {
	switch {
	case strings.HasPrefix(token, "encrypted:"), strings.HasPrefix(token, "registry:"):
		form, _, _ := strings.Cut(token, ":")
		return fmt.Errorf("the form %s:… exists on Windows only; give the token itself, or its file in SIGNPATH_API_TOKEN_FILE", form)
	case len(token) > longestToken:
		return fmt.Errorf("it has %d bytes; a token has %d at most", len(token), longestToken)
	}
	for i, b := range []byte(token) {
		switch {
		case b <= ' ' || b == 0x7f:
			return fmt.Errorf("byte %d of %d is a space, a line break or another control character; copy the token again, without it", i+1, len(token))
		case b > 0x7f:
			return fmt.Errorf("byte %d of %d is not ASCII; copy the token again", i+1, len(token))
		}
	}
	return nil
}

func setTLSClientCertificate(_ *parser, _ *Config, value string) error {
	if strings.HasPrefix(value, "thumbprint:") {
		return errors.New("thumbprint:… names a Windows certificate store; on Linux set SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE to a PEM file with certificate and key")
	}
	return errors.New("this form is not known on Linux; set SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE to a PEM file with certificate and key")
}
