package mockapi

import (
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"strings"
)

// ofPolicy finds the policy of a path for a submitter of it.
func (c *call) ofPolicy() (*policy, error) {
	p := c.org.policy(c.path["project"], c.path["policy"])
	if p == nil {
		return nil, notFound("There is no signing policy '%.100s' in project '%.100s'.", c.path["policy"], c.path["project"])
	}
	if !p.admits(c.user) && !c.user.may("certificates") {
		return nil, forbidden("The user '%s' may not see the signing policy '%s'.", c.user.name, p.Slug)
	}
	return p, nil
}

func (s *Server) policyDetails(c *call) error {
	p, err := c.ofPolicy()
	if err != nil {
		return err
	}
	return writeJSON(c.w, http.StatusOK, map[string]any{
		"id": p.id, "slug": p.Slug, "name": p.Slug, "projectSlug": p.project.Slug,
		"certificateSlug": p.certificate.Slug, "requiresApproval": p.Approval,
	})
}

func (s *Server) policyCertificate(c *call) error {
	p, err := c.ofPolicy()
	if err != nil {
		return err
	}
	metadata, err := p.certificate.metadata()
	if err != nil {
		return err
	}
	return writeJSON(c.w, http.StatusOK, metadata)
}

func (s *Server) x509Certificate(c *call) error {
	p, err := c.ofPolicy()
	if err != nil {
		return err
	}
	if p.certificate.Type != typeX509 {
		return notFound("The signing policy '%s' has a GPG key, no X.509 certificate.", p.Slug)
	}
	m, err := p.certificate.load()
	if err != nil {
		return err
	}
	body, contentType := m.chain[0].Raw, "application/pkix-cert"
	if s.cfg.Formats.X509Certificate == "pem" {
		body, contentType = pemCertificate(m.chain[0]), "application/x-pem-file"
	}
	return c.download(body, contentType, "certificate.cer")
}

func (s *Server) gpgPublicKey(c *call) error {
	p, err := c.ofPolicy()
	if err != nil {
		return err
	}
	if p.certificate.Type != typeGPG {
		return notFound("The signing policy '%s' has an X.509 certificate, no GPG key.", p.Slug)
	}
	m, err := p.certificate.load()
	if err != nil {
		return err
	}
	if s.cfg.Formats.GPGPublicKey == "binary" {
		return c.download(m.openPGP, "application/octet-stream", "key.pgp")
	}
	text, err := armored(m.openPGP)
	if err != nil {
		return err
	}
	return c.download(text, "application/pgp-keys", "key.asc")
}

func (c *call) download(body []byte, contentType, name string) error {
	c.w.Header().Set("Content-Type", contentType)
	c.w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	c.w.WriteHeader(http.StatusOK)
	c.w.Write(body)
	return nil
}

// certificates lists an organization's certificates without their chains.
func (s *Server) certificates(c *call) error {
	if err := c.mayReadCertificates(); err != nil {
		return err
	}
	list := make([]map[string]any, 0, len(c.org.certificates))
	for _, cert := range c.org.certificates {
		list = append(list, map[string]any{"id": cert.id, "slug": cert.Slug, "name": cert.commonName(), "type": apiType(cert.Type)})
	}
	return writeJSON(c.w, http.StatusOK, map[string]any{"certificates": list})
}

func (s *Server) certificateBySlug(c *call) error {
	if err := c.mayReadCertificates(); err != nil {
		return err
	}
	cert := c.org.certificateOf(c.path["slug"])
	if cert == nil {
		return notFound("There is no certificate '%.100s'.", c.path["slug"])
	}
	metadata, err := cert.metadata()
	if err != nil {
		return err
	}
	m, err := cert.load()
	if err != nil {
		return err
	}
	if m.chain != nil {
		metadata["x509CertificateData"] = m.chain[0].Raw
		metadata["x509CertificateChain"] = s.chainElements(m)
	}
	return writeJSON(c.w, http.StatusOK, metadata)
}

func (c *call) mayReadCertificates() error {
	if c.user.may("certificates") {
		return nil
	}
	return forbidden("The user '%s' may not read certificates.", c.user.name)
}

// chainElements are the certificates leaf first, root last.
func (s *Server) chainElements(m *material) []any {
	var out []any
	for _, cert := range m.chain {
		if s.cfg.Formats.Chain == "objects" {
			out = append(out, map[string]any{"subject": cert.Subject.String(), "x509CertificateData": cert.Raw})
		} else {
			out = append(out, cert.Raw)
		}
	}
	return out
}

// metadata describes a certificate to those who may see it.
func (c *certificate) metadata() (map[string]any, error) {
	m, err := c.load()
	if err != nil {
		return nil, err
	}
	out := map[string]any{
		"id": c.id, "slug": c.Slug, "name": c.commonName(), "type": apiType(c.Type),
		"keyType": c.KeyType, "keySizeInBits": c.KeySizeInBits,
	}
	if m.chain == nil {
		return out, nil
	}
	leaf := m.chain[0]
	thumbprint := sha1.Sum(leaf.Raw)
	out["subject"], out["issuer"] = leaf.Subject.String(), leaf.Issuer.String()
	out["serialNumber"] = leaf.SerialNumber.Text(16)
	out["thumbprint"] = strings.ToUpper(hex.EncodeToString(thumbprint[:]))
	out["validFrom"], out["validTo"] = leaf.NotBefore, leaf.NotAfter
	return out, nil
}

// apiType is a certificate type as the certificate routes spell it.
func apiType(t string) string {
	if t == typeGPG {
		return "GPG"
	}
	return t
}
