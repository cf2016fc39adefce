package signpath

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
)

const maxChain = 10 // issuers above a leaf

// Chain returns the issuers of the key's certificate, from the one that signed it up to the
// last one known, without the certificate itself; nil for keys without
// a certificate and for self-signed ones. Each is
// checked to have signed the one before. They come from the service's certificates, which
// many tokens may not read, and from SIGNKIT_CERTIFICATE_CHAIN_FILE; a chain that is incomplete or
// empty is no error. It is fetched when first asked for, once for all keys of a Client.
func (k *Key) Chain(ctx context.Context) ([]*x509.Certificate, error) {
	if k.certificate == nil || isSelfSigned(k.certificate) {
		return nil, nil
	}
	chain, err := k.chain.get(ctx, k.fetchChain)
	if err != nil {
		return nil, fmt.Errorf("reading the issuers of %s: %w", k.client.clean(k.ID(), 200), err)
	}
	return slices.Clone(chain), nil
}

func (k *Key) fetchChain(ctx context.Context) ([]*x509.Certificate, error) {
	issuers, serviceErr := k.client.issuersOf(ctx, k)
	chain := orderChain(k.certificate, issuers)
	file := k.client.cfg.CertificateChainFile
	if isComplete(k.certificate, chain) || file == "" {
		return chain, serviceErr
	}
	if ctx.Err() != nil {
		return nil, serviceErr
	}
	more, err := readChainFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.client.setting("SIGNKIT_CERTIFICATE_CHAIN_FILE"), err)
	}
	return orderChain(k.certificate, slices.Concat(issuers, more)), nil
}

func readChainFile(file string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	list, err := parseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return list, nil
}

// orderChain follows the signatures up from leaf through the candidates.
func orderChain(leaf *x509.Certificate, candidates []*x509.Certificate) []*x509.Certificate {
	var chain []*x509.Certificate
	for current := leaf; len(chain) < maxChain && !isSelfSigned(current); {
		issuer := findIssuer(current, candidates)
		if issuer == nil {
			break
		}
		chain = append(chain, issuer)
		current = issuer
	}
	return chain
}

func findIssuer(c *x509.Certificate, candidates []*x509.Certificate) *x509.Certificate {
	for _, candidate := range candidates {
		if bytes.Equal(c.RawIssuer, candidate.RawSubject) && !candidate.Equal(c) && c.CheckSignatureFrom(candidate) == nil {
			return candidate
		}
	}
	return nil
}

func isSelfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

func isComplete(leaf *x509.Certificate, chain []*x509.Certificate) bool {
	if len(chain) > 0 {
		leaf = chain[len(chain)-1]
	}
	return isSelfSigned(leaf)
}

// serviceCertificate is one element of the certificates route.
type serviceCertificate struct {
	slug  string
	leaf  []byte // DER; nil where the list does not hold it
	chain []*x509.Certificate
}

// maxDetails bounds how many certificates are read one by one to find a leaf.
const maxDetails = 32

// issuersOf finds the key's leaf among the organization's certificates. A token that may not
// read them, and a service that has no such route, know no issuers. Services differ in what
// the list holds: where it has no certificates, they are read one by one, that of the policy
// first.
func (c *Client) issuersOf(ctx context.Context, k *Key) ([]*x509.Certificate, error) {
	list, err := c.certificates.get(ctx, func(ctx context.Context) ([]serviceCertificate, error) {
		return c.readCertificates(ctx, "Certificates")
	})
	if err != nil {
		return nil, err
	}
	if entry := findLeaf(list, k.certificate); entry != nil {
		if len(entry.chain) > 0 || entry.slug == "" {
			return entry.chain, nil
		}
		return c.chainBySlug(ctx, entry.slug, k.certificate)
	}
	for _, slug := range c.likelySlugs(ctx, k, list) {
		chain, err := c.chainBySlug(ctx, slug, k.certificate)
		if err != nil || len(chain) > 0 {
			return chain, err
		}
	}
	return nil, nil
}

func (c *Client) chainBySlug(ctx context.Context, slug string, leaf *x509.Certificate) ([]*x509.Certificate, error) {
	list, err := c.readCertificates(ctx, "Certificates", slug)
	return chainOf(findLeaf(list, leaf)), err
}

// likelySlugs names the certificates that came without their data: first the one that the
// policy says is its own.
func (c *Client) likelySlugs(ctx context.Context, k *Key, list []serviceCertificate) []string {
	var slugs []string
	for _, entry := range list {
		if entry.leaf == nil {
			slugs = append(slugs, entry.slug)
		}
	}
	if len(slugs) == 0 {
		return nil
	}
	own, err := c.readCertificates(ctx, "Projects", k.project, "SigningPolicies", k.policy, "Certificate")
	if err == nil && len(own) == 1 && own[0].slug != "" {
		slugs = slices.DeleteFunc(slugs, func(slug string) bool { return slug == own[0].slug })
		slugs = slices.Insert(slugs, 0, own[0].slug)
	}
	return slugs[:min(len(slugs), maxDetails)]
}

func chainOf(entry *serviceCertificate) []*x509.Certificate {
	if entry == nil {
		return nil
	}
	return entry.chain
}

func findLeaf(list []serviceCertificate, leaf *x509.Certificate) *serviceCertificate {
	for i := range list {
		if bytes.Equal(list[i].leaf, leaf.Raw) {
			return &list[i]
		}
	}
	return nil
}

func (c *Client) readCertificates(ctx context.Context, segments ...string) ([]serviceCertificate, error) {
	q := get(limitList, segments...)
	a, err := c.send(ctx, q)
	if e, ok := asError(err); ok && (e.Status == 400 || e.Status == 403 || e.Status == 404 || e.Status == 405) {
		c.log.Debug("issuers are not available from the service", "error", e)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var document any
	if err := c.decode(q, a, &document); err != nil {
		return nil, err
	}
	return collectCertificates(document, nil), nil
}

// collectCertificates finds the certificate objects in a list, an object with a list, or an
// object that is one: the form of the answer is not documented.
func collectCertificates(document any, found []serviceCertificate) []serviceCertificate {
	switch document := document.(type) {
	case []any:
		for _, element := range document {
			found = collectCertificates(element, found)
		}
	case map[string]any:
		if leaf := firstCertificate(document, "x509CertificateData", "x509Certificate"); leaf != nil {
			slug, _ := property(document, "slug").(string)
			chain := chainCertificates(property(document, "x509CertificateChain"))
			return append(found, serviceCertificate{slug: slug, leaf: leaf.Raw, chain: chain})
		}
		if slug, _ := property(document, "slug").(string); slug != "" {
			if kind, ok := property(document, "type").(string); !ok || strings.EqualFold(kind, "X509") {
				found = append(found, serviceCertificate{slug: slug})
			}
			return found
		}
		for _, value := range document {
			if list, ok := value.([]any); ok {
				found = collectCertificates(list, found)
			}
		}
	}
	return found
}

func firstCertificate(object map[string]any, names ...string) *x509.Certificate {
	for _, name := range names {
		if text, ok := property(object, name).(string); ok {
			if list := certificatesInText(text); len(list) > 0 {
				return list[0]
			}
		}
	}
	return nil
}

// chainCertificates accepts texts and objects that hold one; what does not parse is left out.
func chainCertificates(value any) []*x509.Certificate {
	switch value := value.(type) {
	case string:
		return certificatesInText(value)
	case []any:
		var chain []*x509.Certificate
		for _, element := range value {
			chain = append(chain, chainCertificates(element)...)
		}
		return chain
	case map[string]any:
		for _, field := range value {
			if text, ok := field.(string); ok {
				if list := certificatesInText(text); len(list) > 0 {
					return list
				}
			}
		}
	}
	return nil
}

// certificatesInText reads base64 DER, or PEM.
func certificatesInText(text string) []*x509.Certificate {
	data := []byte(text)
	if !strings.Contains(text, "-----BEGIN") {
		var err error
		if data, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); err != nil {
			return nil
		}
	}
	list, err := parseCertificates(data)
	if err != nil {
		return nil
	}
	return list
}

// property finds a property by name in any case.
func property(object map[string]any, name string) any {
	for key, value := range object {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return nil
}
