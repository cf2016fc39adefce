package mockapi

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

var (
	slugForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

const (
	generate  = "generate"
	emptyUUID = "00000000-0000-0000-0000-000000000000"
)

// checker collects everything that is wrong with a configuration.
type checker struct{ errs []error }

func (c *checker) require(ok bool, format string, args ...any) {
	if !ok {
		c.errs = append(c.errs, fmt.Errorf(format, args...))
	}
}

// check reports every mistake in cfg, one line each.
func (cfg *Config) check() error {
	c := new(checker)
	c.require(len(cfg.Organizations) > 0, "organizations: there must be one")
	c.require(slices.Contains([]string{"", "problem", "plain"}, cfg.ErrorStyle), "errorStyle %q: want problem or plain", cfg.ErrorStyle)
	c.require(cfg.LatencyMS >= 0, "latencyMs %d: must not be negative", cfg.LatencyMS)
	c.require(cfg.QueuePolls >= 0, "queuePolls %d: must not be negative", cfg.QueuePolls)
	c.require(cfg.ChainLength >= 0 && cfg.ChainLength <= 6, "chainLength %d: want 1 to 6", cfg.ChainLength)
	c.formats(cfg.Formats)
	c.generation("signHash", cfg.Generations.SignHash)
	c.generation("submitWithArtifact", cfg.Generations.SubmitWithArtifact)
	c.generation("signingRequests", cfg.Generations.SigningRequests)
	c.organizations(cfg.Organizations)
	return errors.Join(c.errs...)
}

func (c *checker) formats(f Formats) {
	c.require(slices.Contains([]string{"", "der", "pem"}, f.X509Certificate), "formats.x509Certificate %q: want der or pem", f.X509Certificate)
	c.require(slices.Contains([]string{"", "armored", "binary"}, f.GPGPublicKey), "formats.gpgPublicKey %q: want armored or binary", f.GPGPublicKey)
	c.require(slices.Contains([]string{"", "strings", "objects"}, f.Chain), "formats.chain %q: want strings or objects", f.Chain)
}

func (c *checker) generation(name string, g Generation) {
	c.require(slices.Contains([]int{0, 400, 404, 405, 415}, g.Status), "generations.%s.status %d: want 404, 405, 415 or 400", name, g.Status)
}

func (c *checker) organizations(orgs []Organization) {
	names, ids, tokens := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, o := range orgs {
		c.require(slugForm.MatchString(o.Name), "organization name %q: want letters, digits, . _ -", o.Name)
		c.unique(names, o.Name, "organization name")
		c.require(o.ID == generate || uuidForm.MatchString(o.ID) && o.ID != emptyUUID, "organization %s: id %q: want a UUID or generate", o.Name, o.ID)
		if o.ID != generate {
			c.unique(ids, o.ID, "organization id")
		}
		c.organization(o)
		for _, u := range o.Users {
			if u.Token != generate && u.Token != "" && tokens[u.Token] {
				c.require(false, "organization %s: user %s: another user has the same token", o.Name, u.Name)
			}
			tokens[u.Token] = true
		}
	}
}

func (c *checker) organization(o Organization) {
	users, certificates, projects := map[string]bool{}, map[string]bool{}, map[string]bool{}
	c.require(len(o.Users) > 0, "organization %s: users: there must be one", o.Name)
	for _, u := range o.Users {
		c.require(slugForm.MatchString(u.Name), "organization %s: user name %q: want letters, digits, . _ -", o.Name, u.Name)
		c.unique(users, u.Name, "user")
		c.require(u.Token != "", "organization %s: user %s: token: want one, or generate", o.Name, u.Name)
		for _, p := range u.Permissions {
			c.require(p == "certificates", "organization %s: user %s: permission %q: the only one is certificates", o.Name, u.Name, p)
		}
	}
	for _, cert := range o.Certificates {
		c.certificate(o.Name, cert)
		c.unique(certificates, cert.Slug, "certificate")
	}
	for _, p := range o.Projects {
		c.unique(projects, p.Slug, "project")
		c.project(p, users, certificates)
	}
}

func (c *checker) certificate(org string, cert Certificate) {
	c.require(slugForm.MatchString(cert.Slug), "organization %s: certificate slug %q: want letters, digits, . _ -", org, cert.Slug)
	c.require(cert.Type == typeX509 || cert.Type == typeGPG, "certificate %s: type %q: want X509 or Gpg", cert.Slug, cert.Type)
	sizes := map[string][]int{keyRSA: {2048, 3072, 4096}, keyECDSA: {256, 384, 521}}[cert.KeyType]
	c.require(sizes != nil, "certificate %s: keyType %q: want Rsa or Ecdsa", cert.Slug, cert.KeyType)
	c.require(sizes == nil || slices.Contains(sizes, cert.KeySizeInBits), "certificate %s: keySizeInBits %d: want one of %v", cert.Slug, cert.KeySizeInBits, sizes)
}

func (c *checker) project(p Project, users, certificates map[string]bool) {
	c.require(slugForm.MatchString(p.Slug), "project slug %q: want letters, digits, . _ -", p.Slug)
	c.require(p.ExtraPolicies >= 0 && p.ExtraPolicies <= 99999, "project %s: extraPolicies %d: want 0 to 99999", p.Slug, p.ExtraPolicies)
	policies := map[string]bool{}
	for _, policy := range p.Policies {
		c.require(slugForm.MatchString(policy.Slug), "project %s: policy slug %q: want letters, digits, . _ -", p.Slug, policy.Slug)
		c.unique(policies, policy.Slug, "policy")
		c.require(certificates[policy.certificateSlug()], "policy %s/%s: there is no certificate %q", p.Slug, policy.Slug, policy.certificateSlug())
		for _, u := range policy.Submitters {
			c.require(users[u], "policy %s/%s: submitter %q is not a user", p.Slug, policy.Slug, u)
		}
	}
}

func (c *checker) unique(seen map[string]bool, name, what string) {
	c.require(!seen[name], "%s %q is there twice", what, name)
	seen[name] = true
}

func (p Policy) certificateSlug() string {
	if p.Certificate != "" {
		return p.Certificate
	}
	return p.Slug
}
