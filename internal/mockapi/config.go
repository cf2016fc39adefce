package mockapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

//go:embed default.json
var defaultJSON []byte

// Config says what the service knows and how it behaves. The zero value of
// every field but Organizations is the behaviour of a current service.
type Config struct {
	// Organizations is what can sign. Missing or empty: those of the built-in configuration.
	Organizations []Organization `json:"organizations"`
	// Generations switches the three signing routes.
	Generations Generations `json:"generations"`
	// ErrorStyle is "problem" (the default: application/problem+json) or
	// "plain" (text/plain, as services before 1.195 answered).
	ErrorStyle string `json:"errorStyle"`
	// LatencyMS is added to every call of the API, in milliseconds.
	LatencyMS int `json:"latencyMs"`
	// ChainLength counts the certificates from leaf to root: 1 is a
	// self-signed leaf, 3 (the default) has one intermediate; at most 6.
	ChainLength int `json:"chainLength"`
	// QueuePolls is how often a queued request answers InProgress before it is Completed.
	QueuePolls int `json:"queuePolls"`
	// Formats chooses between encodings that services use alike.
	Formats Formats `json:"formats"`
}

// Generations are the three forms of the hash signing call, newest first.
type Generations struct {
	SignHash           Generation `json:"signHash"`           // POST SigningRequests/SignHash
	SubmitWithArtifact Generation `json:"submitWithArtifact"` // POST SigningRequests/SubmitWithArtifact
	SigningRequests    Generation `json:"signingRequests"`    // POST SigningRequests
}

// Generation switches one signing route.
type Generation struct {
	// Off makes the route answer as a service that does not know it.
	Off bool `json:"off"`
	// Status is that answer: 404 (the default), 405, 415, or 400 naming hashSigningData.
	Status int `json:"status"`
	// Queued makes every call of the route a queued request: 201 and a Location, no signature.
	Queued bool `json:"queued"`
}

// Formats chooses encodings of the certificate routes.
type Formats struct {
	X509Certificate string `json:"x509Certificate"` // "der" (default) or "pem"
	GPGPublicKey    string `json:"gpgPublicKey"`    // "armored" (default) or "binary"
	Chain           string `json:"chain"`           // elements of x509CertificateChain: "strings" (default) or "objects"
}

// Organization is one tenant.
type Organization struct {
	Name         string        `json:"name"` // names its files in the state folder
	ID           string        `json:"id"`   // a UUID, or "generate": made once and kept in the state folder
	Users        []User        `json:"users"`
	Certificates []Certificate `json:"certificates"`
	Projects     []Project     `json:"projects"`
}

// User is somebody with a bearer token.
type User struct {
	Name  string `json:"name"`
	Token string `json:"token"` // or "generate": made once and kept in the state folder
	// Permissions beyond those of a submitter. The only one is
	// "certificates": may read the organization's certificates.
	Permissions []string `json:"permissions"`
}

// Certificate is a key with its public half: an X.509 certificate or a GPG key.
type Certificate struct {
	Slug          string `json:"slug"`
	Type          string `json:"type"`          // "X509" or "Gpg"
	KeyType       string `json:"keyType"`       // "Rsa" or "Ecdsa"
	KeySizeInBits int    `json:"keySizeInBits"` // Rsa: 2048, 3072, 4096; Ecdsa: 256, 384, 521
	CommonName    string `json:"commonName"`    // default: made from the slug
	Email         string `json:"email"`         // of a GPG key; default: SLUG@example.com
}

// Project is what is signed.
type Project struct {
	Slug     string   `json:"slug"`
	Policies []Policy `json:"policies"`
	// ExtraPolicies adds that many policies extra-00001, extra-00002 … which
	// share one P-256 certificate and have the submitters of the first policy.
	ExtraPolicies int `json:"extraPolicies"`
	// ArtifactConfigurations are what a request may name; the first is the
	// default. Missing: one called "hash-signing" of type "HashSigningData".
	ArtifactConfigurations []ArtifactConfiguration `json:"artifactConfigurations"`
}

// ArtifactConfiguration names a kind of artifact. Only the type HashSigningData can sign hashes.
type ArtifactConfiguration struct {
	Slug string `json:"slug"`
	Type string `json:"type"`
}

// Policy says who may sign with which certificate.
type Policy struct {
	Slug        string   `json:"slug"`
	Certificate string   `json:"certificate"` // slug of the certificate; default: the policy's own slug
	Submitters  []string `json:"submitters"`  // names of users
	Approval    bool     `json:"approval"`    // needs approval, so it cannot sign hashes
	Queued      bool     `json:"queued"`      // every request of it is queued
}

// DefaultConfig returns a fresh copy of the built-in configuration: one
// organization, the user ci who may submit to every policy of the project
// demo, and the user observer who may submit to none.
func DefaultConfig() *Config {
	cfg, err := readConfig(bytes.NewReader(defaultJSON))
	if err != nil {
		panic("mockapi: built-in configuration: " + err.Error()) // a test reads it
	}
	return cfg
}

// LoadConfig reads a JSON file. Unknown names are errors. Without
// organizations it gets those of the built-in configuration.
func LoadConfig(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	defer f.Close()
	cfg, err := readConfig(f)
	if err != nil {
		return nil, fmt.Errorf("reading configuration %s: %w", path, err)
	}
	if len(cfg.Organizations) == 0 {
		cfg.Organizations = DefaultConfig().Organizations
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return cfg, nil
}

func readConfig(r io.Reader) (*Config, error) {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	cfg := new(Config)
	if err := dec.Decode(cfg); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("there is more after the JSON object")
	}
	return cfg, nil
}
