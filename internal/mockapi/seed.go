package mockapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// organization is a tenant as the running service knows it.
type organization struct {
	name, id     string
	users        []*user
	certificates []*certificate
	policies     []*policy // in the order of the configuration
	projects     map[string]*Project
}

type user struct {
	name        string
	token       [sha256.Size]byte // its hash
	permissions []string
}

type policy struct {
	Policy
	id          string // UUID
	project     *Project
	certificate *certificate
}

// seed turns the configuration into organizations, and makes up what is to be generated.
func seed(cfg *Config, state *stateDir, ca *authority) ([]*organization, []string, error) {
	var orgs []*organization
	var tokens []string // of the first organization, for those who start the service
	for i := range cfg.Organizations {
		org, plain, err := seedOrganization(&cfg.Organizations[i], state, ca)
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			tokens = plain
		}
		orgs = append(orgs, org)
	}
	return orgs, tokens, nil
}

func seedOrganization(o *Organization, state *stateDir, ca *authority) (*organization, []string, error) {
	id, err := state.resolve(o.Name, o.ID, newUUID)
	if err != nil {
		return nil, nil, err
	}
	org := &organization{name: o.Name, id: strings.ToLower(id), projects: map[string]*Project{}}
	var tokens []string
	for _, u := range o.Users {
		token, err := state.resolve(o.Name+"/"+u.Name, u.Token, newToken)
		if err != nil {
			return nil, nil, err
		}
		tokens = append(tokens, token)
		org.users = append(org.users, &user{u.Name, sha256.Sum256([]byte(token)), u.Permissions})
	}
	for _, c := range o.Certificates {
		org.addCertificate(c, state, ca)
	}
	for i := range o.Projects {
		org.addProject(&o.Projects[i], state, ca)
	}
	return org, tokens, nil
}

func (o *organization) addCertificate(c Certificate, state *stateDir, ca *authority) *certificate {
	cert := &certificate{Certificate: c, id: derivedUUID(o.id, "certificate", c.Slug), name: o.name + "." + c.Slug, state: state, ca: ca}
	o.certificates = append(o.certificates, cert)
	return cert
}

func (o *organization) addProject(p *Project, state *stateDir, ca *authority) {
	o.projects[p.Slug] = p
	for _, policy := range p.Policies {
		o.addPolicy(p, policy, o.certificateOf(policy.certificateSlug()))
	}
	if p.ExtraPolicies == 0 {
		return
	}
	shared := o.addCertificate(Certificate{Slug: p.Slug + "-extra", Type: typeX509, KeyType: keyECDSA, KeySizeInBits: 256}, state, ca)
	var submitters []string
	if len(p.Policies) > 0 {
		submitters = p.Policies[0].Submitters
	}
	for i := range p.ExtraPolicies {
		o.addPolicy(p, Policy{Slug: fmt.Sprintf("extra-%05d", i+1), Submitters: submitters}, shared)
	}
}

func (o *organization) addPolicy(project *Project, p Policy, cert *certificate) {
	o.policies = append(o.policies, &policy{p, derivedUUID(o.id, project.Slug, p.Slug), project, cert})
}

func (o *organization) certificateOf(slug string) *certificate {
	i := slices.IndexFunc(o.certificates, func(c *certificate) bool { return c.Slug == slug })
	if i < 0 {
		return nil
	}
	return o.certificates[i]
}

// policy finds by slugs, which are compared exactly; nil when there is none.
func (o *organization) policy(project, slug string) *policy {
	i := slices.IndexFunc(o.policies, func(p *policy) bool { return p.project.Slug == project && p.Slug == slug })
	if i < 0 {
		return nil
	}
	return o.policies[i]
}

func (p *policy) admits(u *user) bool { return slices.Contains(p.Submitters, u.name) }

func (u *user) may(permission string) bool { return slices.Contains(u.permissions, permission) }

// derivedUUID is the same at every start (RFC 9562, version 8).
func derivedUUID(parts ...string) string {
	b := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// GenerateKeys makes every key that does not exist yet, smallest first and one
// at a time, until ctx ends. Without it each key is made when it is first asked for.
func (s *Server) GenerateKeys(ctx context.Context) error {
	for _, o := range s.orgs {
		certs := slices.Clone(o.certificates)
		slices.SortStableFunc(certs, func(a, b *certificate) int { return a.KeySizeInBits - b.KeySizeInBits })
		for _, c := range certs {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, err := c.load(); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadAll makes the keys of several policies at the same time.
func loadAll(policies []*policy) error {
	seen := map[*certificate]bool{}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	for _, p := range policies {
		if seen[p.certificate] {
			continue
		}
		seen[p.certificate] = true
		wg.Go(func() {
			if _, err := p.certificate.load(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				first = err
			}
		})
	}
	wg.Wait()
	return first
}
