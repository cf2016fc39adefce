package config

import (
	"fmt"
	"maps"
	"strings"
)

// PINReason says what is wrong with a PIN.
type PINReason int

// The reasons of a PINError.
const (
	Empty PINReason = iota // there is no PIN
	Cut                    // the tool passed on only its beginning
	Form                   // it is neither CONFIG nor ORGANIZATION_ID:API_TOKEN
)

// PINError is the error of WithPIN. Its text never shows any of the PIN.
type PINError struct {
	Reason PINReason
	Detail string // what is wrong and what to do
}

func (e *PINError) Error() string { return "PIN: " + e.Detail }

// PINFromConfig is the PIN that leaves the credentials to the settings.
const PINFromConfig = "CONFIG"

const pinSource = "PIN" // what Source says

const useConfig = "pass the PIN CONFIG and set SIGNPATH_ORGANIZATION_ID and SIGNPATH_API_TOKEN"

// WithPIN returns a copy of c with the credentials of a PIN: those of the settings for
// CONFIG, those in the PIN for ORGANIZATION_ID:API_TOKEN, split at the first colon. A line
// break at the end, as PIN files have it, is ignored.
//
// Every error is a *PINError. Some tools pass on only the first bytes of a PIN (an old
// libp11: 32); what begins as an organization's id and lacks a token, or a part
// of it, is therefore reported as cut.
func (c *Config) WithPIN(pin string) (*Config, error) {
	pin = strings.TrimRight(pin, "\r\n")
	switch {
	case pin == "":
		return nil, &PINError{Empty, "it is empty; " + useConfig + ", or pass ORGANIZATION_ID:API_TOKEN"}
	case pin == PINFromConfig:
		return c.clone(), nil
	case c.cut(pin):
		return nil, &PINError{Cut, "the tool passed on only its beginning; " + useConfig}
	}
	organization, token, _ := strings.Cut(pin, ":")
	if !uuid.MatchString(organization) {
		return nil, &PINError{Form, "it is neither CONFIG nor ORGANIZATION_ID:API_TOKEN; " + useConfig}
	}
	if err := checkToken(token); err != nil {
		return nil, &PINError{Form, fmt.Sprintf("the token after the organization's id cannot be right: %v", err)}
	}
	copied := c.clone()
	copied.OrganizationID, copied.APIToken = organization, NewSecret(token)
	copied.sources[organizationSetting], copied.sources[tokenSetting] = pinSource, pinSource
	return copied, nil
}

// FromPIN reports whether the credentials are those of a PIN.
func (c *Config) FromPIN() bool { return c.sources[tokenSetting] == pinSource }

func (c *Config) clone() *Config {
	copied := *c
	copied.sources = maps.Clone(c.sources)
	if copied.sources == nil {
		copied.sources = map[string]string{}
	}
	return &copied
}

// cut reports whether the PIN is the beginning of ORGANIZATION_ID:API_TOKEN.
func (c *Config) cut(pin string) bool {
	organization, token, colon := strings.Cut(pin, ":")
	if colon && uuid.MatchString(organization) {
		known := c.APIToken.Reveal()
		sameUser := strings.EqualFold(organization, c.OrganizationID)
		return token == "" || sameUser && len(token) < len(known) && strings.HasPrefix(known, token)
	}
	return !colon && c.beginsOrganization(pin)
}

// beginsOrganization reports whether the text is a uuid or its beginning. A PIN of eight
// digits or less is more likely some card's: it must begin the organization's id that
// is set.
func (c *Config) beginsOrganization(pin string) bool {
	const sample = "00000000-0000-0000-0000-000000000000"
	if len(pin) > len(sample) || !uuid.MatchString(pin+sample[len(pin):]) {
		return false
	}
	return len(pin) > 8 || len(pin) >= 4 && strings.HasPrefix(strings.ToLower(c.OrganizationID), strings.ToLower(pin))
}
