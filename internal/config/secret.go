package config

import (
	"fmt"
	"io"
	"log/slog"

	"signkit/internal/logging"
)

// Secret is a text that no form of printing shows: fmt with any verb, JSON, text
// encoders and slog all yield "[redacted]", or nothing for the empty secret. The zero
// value is empty.
type Secret struct {
	// A pointer, because fmt calls no method on unexported fields of other structs: it
	// would print a string there, and prints an address now.
	value *string
}

// NewSecret wraps a text.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{&s}
}

// Reveal returns the text itself: for the Authorization header and for redaction only.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == nil }

// String returns "[redacted]", or "" when the secret is empty.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return logging.Redacted
}

// GoString is String: %#v shows no more.
func (s Secret) GoString() string { return s.String() }

// Format prints String for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText encodes String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON encodes String.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
