package config

import (
	"fmt"
	"strings"
)

// PINReason says what is wrong with a PIN.
type PINReason int

// The reasons of a PINError.
const (
	Empty PINReason = iota // there is no PIN
	Cut                    // the tool passed on the beginning only
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

// WithPIN returns a copy of c with the credentials of a PIN: those of the settings for
// CONFIG, those in the PIN for ORGANIZATION_ID:API_TOKEN, split at the first colon.
// Every error is a *PINError.
func (c *Config) WithPIN(pin string) (*Config, error) {
	copied := *c
	if pin == "" {
		return nil, &PINError{Empty, "it is empty; pass CONFIG or ORGANIZATION_ID:API_TOKEN"}
	}
	if pin == PINFromConfig {
		return &copied, nil
	}
	organization, token, ok := strings.Cut(pin, ":")
	if !ok || !uuid.MatchString(organization) {
		return nil, &PINError{Form, "it is neither CONFIG nor ORGANIZATION_ID:API_TOKEN"}
	}
	if err := checkToken(token); err != nil {
		return nil, &PINError{Form, fmt.Sprintf("the token in it is wrong: %v", err)}
	}
	copied.OrganizationID, copied.APIToken = organization, NewSecret(token)
	return &copied, nil
}
