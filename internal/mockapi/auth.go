package mockapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
)

// authenticate finds the user of the bearer token and the organization of the
// path. Routes without {org} are public.
func (s *Server) authenticate(c *call) error {
	id, ok := c.path["org"]
	if !ok {
		return nil
	}
	org, u, err := s.bearer(c.r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	wanted, err := s.organization(id)
	if err != nil {
		return err
	}
	if wanted != org {
		return forbidden("The user of this API token is not a member of organization %s.", wanted.id)
	}
	c.org, c.user = org, u
	return nil
}

// bearer finds who a token belongs to. All are compared, each in constant time.
func (s *Server) bearer(header string) (*organization, *user, error) {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, nil, unauthorized("The request has no bearer token.")
	}
	sum := sha256.Sum256([]byte(token))
	var org *organization
	var found *user
	for _, o := range s.orgs {
		for _, u := range o.users {
			if subtle.ConstantTimeCompare(sum[:], u.token[:]) == 1 {
				org, found = o, u
			}
		}
	}
	if found == nil {
		return nil, nil, unauthorized("The API token is not known.")
	}
	return org, found, nil
}

func (s *Server) organization(id string) (*organization, error) {
	if id == emptyUUID {
		return nil, invalid("organizationId", "The organization id must not be empty.")
	}
	for _, o := range s.orgs {
		if strings.EqualFold(o.id, id) {
			return o, nil
		}
	}
	return nil, notFound("There is no organization %.36q.", id)
}
