package mockapi

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/http"
)

// policyEntry is one element of signingPolicies. []byte becomes base64.
type policyEntry struct {
	ProjectSlug       string         `json:"projectSlug"`
	SigningPolicySlug string         `json:"signingPolicySlug"`
	SigningPolicyID   string         `json:"signingPolicyId"`
	KeyType           string         `json:"keyType"`
	KeySizeInBits     int            `json:"keySizeInBits"`
	RSAParameters     *rsaParameters `json:"rsaParameters,omitempty"`
	PublicKeyBytes    []byte         `json:"publicKeyBytes"`
	CertificateBytes  []byte         `json:"certificateBytes,omitempty"`
	CertificateType   string         `json:"certificateType"`
}

// rsaParameters are big-endian without a sign byte.
type rsaParameters struct {
	PublicExponent []byte `json:"publicExponent"`
	Modulus        []byte `json:"modulus"`
}

// mySigningPolicies lists what the user may submit to, narrowed by either slug.
func (s *Server) mySigningPolicies(c *call) error {
	query := c.r.URL.Query()
	var mine []*policy
	for _, p := range c.org.policies {
		if p.admits(c.user) && matches(query, "projectSlug", p.project.Slug) && matches(query, "signingPolicySlug", p.Slug) {
			mine = append(mine, p)
		}
	}
	if err := loadAll(mine); err != nil {
		return err
	}
	entries := make([]policyEntry, 0, len(mine))
	for _, p := range mine {
		entry, err := p.entry()
		if err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	return writeJSON(c.w, http.StatusOK, map[string]any{"signingPolicies": entries})
}

// matches reports whether a query leaves value in: an absent filter does.
func matches(query map[string][]string, name, value string) bool {
	filter, ok := query[name]
	return !ok || filter[0] == value
}

func (p *policy) entry() (policyEntry, error) {
	m, err := p.certificate.load()
	if err != nil {
		return policyEntry{}, err
	}
	e := policyEntry{
		ProjectSlug: p.project.Slug, SigningPolicySlug: p.Slug, SigningPolicyID: p.id,
		KeyType: p.certificate.KeyType, KeySizeInBits: p.certificate.KeySizeInBits, CertificateType: p.certificate.Type,
	}
	if m.chain != nil {
		e.CertificateBytes = m.chain[0].Raw
	}
	return e, e.setPublicKey(m)
}

// setPublicKey encodes as the service does: PKCS#1 for RSA, SubjectPublicKeyInfo for curves.
func (e *policyEntry) setPublicKey(m *material) (err error) {
	switch public := m.key.Public().(type) {
	case *rsa.PublicKey:
		e.PublicKeyBytes = x509.MarshalPKCS1PublicKey(public)
		e.RSAParameters = &rsaParameters{big.NewInt(int64(public.E)).Bytes(), public.N.Bytes()}
	case *ecdsa.PublicKey:
		e.PublicKeyBytes, err = x509.MarshalPKIXPublicKey(public)
	default:
		err = fmt.Errorf("no encoding for a %T", public)
	}
	return err
}
