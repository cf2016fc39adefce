package signpath

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Filter narrows Policies. With both slugs set the service is asked for that one policy only.
type Filter struct {
	ProjectSlug       string // "" is any
	SigningPolicySlug string // "" is any
}

// Policies returns the keys of the signing policies that the token's user may submit to,
// sorted by ID. It is one request. An empty list is not an error. A policy whose key or
// certificate cannot be used is left out, with one log line that names it.
func (c *Client) Policies(ctx context.Context, filter Filter) ([]*Key, error) {
	q := call{method: http.MethodGet, path: "Cryptoki/MySigningPolicies", query: filter.query(), limit: limitList}
	a, err := c.send(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("reading signing policies: %w", err)
	}
	list, err := c.readPolicies(q, a)
	if err != nil {
		return nil, fmt.Errorf("reading signing policies: %w", err)
	}
	return c.usableKeys(list, filter), nil
}

// query leaves a policy without a project out: the service does not document that.
func (f Filter) query() url.Values {
	query := url.Values{}
	if f.ProjectSlug == "" {
		return query
	}
	query.Set("projectSlug", f.ProjectSlug)
	if f.SigningPolicySlug != "" {
		query.Set("signingPolicySlug", f.SigningPolicySlug)
	}
	return query
}

// matches applies the filter again, for services that do not know its parameters.
func (f Filter) matches(p *policy) bool {
	return (f.ProjectSlug == "" || strings.EqualFold(f.ProjectSlug, p.ProjectSlug)) &&
		(f.SigningPolicySlug == "" || strings.EqualFold(f.SigningPolicySlug, p.SigningPolicySlug))
}

// policy is one element of the policies route. Byte strings are base64 in JSON.
type policy struct {
	ProjectSlug       string `json:"projectSlug"`
	SigningPolicySlug string `json:"signingPolicySlug"`
	SigningPolicyID   string `json:"signingPolicyId"`
	KeyType           string `json:"keyType"`
	KeySizeInBits     int    `json:"keySizeInBits"`
	RSAParameters     *struct {
		PublicExponent []byte `json:"publicExponent"`
		Modulus        []byte `json:"modulus"` // big-endian, no sign byte
	} `json:"rsaParameters"`
	PublicKeyBytes   []byte `json:"publicKeyBytes"`
	CertificateBytes []byte `json:"certificateBytes"` // DER
	CertificateType  string `json:"certificateType"`
}

// policyList is the answer; its elements are read one by one, so that a wrong one does not hide the others.
type policyList struct {
	SigningPolicies *[]json.RawMessage `json:"signingPolicies"`
}

func (c *Client) readPolicies(q call, a *answer) ([]json.RawMessage, error) {
	var list policyList
	if err := c.decode(q, a, &list); err != nil {
		return nil, err
	}
	if list.SigningPolicies == nil {
		return nil, &Error{failure: c.notTheAPI(), Method: q.method, Path: c.path(q), Status: a.status,
			cause: "the answer has no signingPolicies"}
	}
	return *list.SigningPolicies, nil
}

func (c *Client) usableKeys(list []json.RawMessage, filter Filter) []*Key {
	keys := make([]*Key, 0, len(list))
	seen := make(map[string]bool, len(list))
	for _, raw := range list {
		key, err := c.readKey(raw, filter)
		if err == nil && key != nil && seen[key.ID()] {
			err = errors.New("it is listed twice")
		}
		switch {
		case err != nil:
			c.log.Warn("signing policy left out", "policy", c.policyName(raw), "reason", c.clean(err.Error(), maxText))
		case key != nil:
			seen[key.ID()] = true
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b *Key) int { return cmp.Compare(a.ID(), b.ID()) })
	return keys
}

// policyName reads the slugs even of an element that is wrong elsewhere.
func (c *Client) policyName(raw json.RawMessage) string {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields)
	var project, name string
	for field, value := range fields {
		switch {
		case strings.EqualFold(field, "projectSlug"):
			project = jsonText(value)
		case strings.EqualFold(field, "signingPolicySlug"):
			name = jsonText(value)
		}
	}
	return c.clean(project+"/"+name, 200)
}

// readKey returns nil for a policy that the filter leaves out.
func (c *Client) readKey(raw json.RawMessage, filter Filter) (*Key, error) {
	var p policy
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	if p.ProjectSlug == "" || p.SigningPolicySlug == "" {
		return nil, errors.New("it has no projectSlug or no signingPolicySlug")
	}
	if !filter.matches(&p) {
		return nil, nil
	}
	key := &Key{client: c, project: p.ProjectSlug, policy: p.SigningPolicySlug, policyID: p.SigningPolicyID, gpg: p.isGPG(), document: raw}
	var err error
	if !key.gpg && len(p.CertificateBytes) > 0 {
		if key.certificate, err = parseCertificate(p.CertificateBytes); err != nil {
			return nil, fmt.Errorf("its certificate: %w", err)
		}
	}
	if key.public, err = p.publicKey(key.certificate); err != nil {
		return nil, err
	}
	if key.certificate != nil && !samePublicKey(key.public, key.certificate.PublicKey) {
		return nil, errors.New("its certificate holds another public key")
	}
	return key, nil
}

// isGPG is so by type, or where an older service names no type and sends no certificate.
func (p *policy) isGPG() bool {
	if p.CertificateType != "" {
		return strings.EqualFold(p.CertificateType, "Gpg")
	}
	return len(p.CertificateBytes) == 0
}

func samePublicKey(a, b any) bool {
	switch a := a.(type) {
	case *rsa.PublicKey:
		return a.Equal(b)
	case *ecdsa.PublicKey:
		return a.Equal(b)
	}
	return false
}

// parseCertificate reads one certificate, DER or PEM.
func parseCertificate(data []byte) (*x509.Certificate, error) {
	list, err := parseCertificates(data)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}
