package mockapi

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// call is one request to the API on its way through a handler.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	path  map[string]string // what the {name} parts of the pattern stood for
	org   *organization     // nil on routes without an organization
	user  *user             // nil on public routes
	fault *Fault            // wrong-signature or wrong-key, else nil
}

// endpoint is one row of the routing table. The pattern begins below the
// segment Api; {org} in it demands a token of that organization.
type endpoint struct {
	method, pattern string
	fault           string // the route's name in faults
	handle          func(*Server, *call) error
	generation      func(*Generations) *Generation // of signing routes
}

// endpoints is the whole API. Literal rows stand before those with {id}.
var endpoints = []endpoint{
	{"GET", "healthz", "", (*Server).health, nil},
	{"GET", "v1/Meta/SystemInfo", "", (*Server).systemInfo, nil},
	{"GET", "v1/{org}/Cryptoki/MySigningPolicies", "policies", (*Server).mySigningPolicies, nil},
	{"POST", "v1/{org}/SigningRequests", "sign", (*Server).submitMultipart, generationA},
	{"POST", "v1/{org}/SigningRequests/SubmitWithArtifact", "sign", (*Server).submitMultipart, generationB},
	{"POST", "v1/{org}/SigningRequests/SignHash", "sign", (*Server).signHash, generationC},
	{"GET", "v1/{org}/SigningRequests/{id}", "", (*Server).signingRequest, nil},
	{"GET", "v1/{org}/SigningRequests/{id}/Status", "", (*Server).signingRequestStatus, nil},
	{"GET", "v1/{org}/SigningRequests/{id}/SignedArtifact", "", (*Server).signedArtifact, nil},
	{"POST", "v1/{org}/SigningRequests/{id}/Cancel", "", (*Server).cancel, nil},
	{"GET", "v1/{org}/Projects/{project}/SigningPolicies/{policy}", "certificate", (*Server).policyDetails, nil},
	{"GET", "v1/{org}/Projects/{project}/SigningPolicies/{policy}/Certificate", "certificate", (*Server).policyCertificate, nil},
	{"GET", "v1/{org}/Projects/{project}/SigningPolicies/{policy}/Certificate/X509Certificate", "certificate", (*Server).x509Certificate, nil},
	{"GET", "v1/{org}/Projects/{project}/SigningPolicies/{policy}/Certificate/GpgPublicKey", "gpg", (*Server).gpgPublicKey, nil},
	{"GET", "v1/{org}/Certificates", "certificate", (*Server).certificates, nil},
	{"GET", "v1/{org}/Certificates/{slug}", "certificate", (*Server).certificateBySlug, nil},
	{"POST", "/tsa", "tsa", (*Server).timeStamp, nil}, // beside the API: one endpoint of one segment
}

func generationA(g *Generations) *Generation { return &g.SigningRequests }
func generationB(g *Generations) *Generation { return &g.SubmitWithArtifact }
func generationC(g *Generations) *Generation { return &g.SignHash }

// find returns the endpoint of a request and what its placeholders stood for,
// or the problem to answer with.
func (s *Server) find(r *http.Request) (*endpoint, map[string]string, error) {
	segments, ok := apiPath(r.URL)
	if !ok {
		return nil, nil, notFound("")
	}
	var allow []string
	for i := range endpoints {
		e := &endpoints[i]
		path, ok := match(strings.Split(e.pattern, "/"), segments)
		if !ok {
			continue
		}
		if e.method == r.Method {
			return e, path, s.switchedOff(e)
		}
		allow = append(allow, e.method)
	}
	if allow == nil {
		return nil, nil, notFound("")
	}
	p := newProblem(http.StatusMethodNotAllowed, "")
	p.header.Set("Allow", strings.Join(allow, ", "))
	return nil, nil, p
}

// apiPath splits a path below the segment Api, which is compared without regard to case.
func apiPath(u *url.URL) ([]string, bool) {
	segments := strings.Split(u.EscapedPath(), "/")
	for i, text := range segments {
		plain, err := url.PathUnescape(text)
		if err != nil {
			return nil, false
		}
		segments[i] = plain
	}
	if slices.Equal(segments, []string{"", "tsa"}) {
		return segments, true
	}
	if len(segments) < 3 || segments[0] != "" || !strings.EqualFold(segments[1], "Api") {
		return nil, false
	}
	return segments[2:], true
}

func match(pattern, segments []string) (map[string]string, bool) {
	if len(pattern) != len(segments) {
		return nil, false
	}
	path := map[string]string{}
	for i, want := range pattern {
		if name, ok := strings.CutPrefix(want, "{"); ok {
			path[strings.TrimSuffix(name, "}")] = segments[i]
		} else if want != segments[i] {
			return nil, false
		}
	}
	return path, true
}

// switchedOff answers for a generation as a service that has never heard of it.
func (s *Server) switchedOff(e *endpoint) error {
	if e.generation == nil {
		return nil
	}
	g := e.generation(&s.cfg.Generations)
	switch {
	case !g.Off:
		return nil
	case g.Status == 0:
		return notFound("")
	case g.Status == http.StatusBadRequest:
		return invalid("hashSigningData", "The hashSigningData field has a form this service does not know.")
	}
	return newProblem(g.Status, "")
}

// serve answers one request, unless a fault does.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	e, path, err := s.find(r)
	name := ""
	if e != nil {
		name = e.fault
	}
	c := &call{w: w, r: r, path: path}
	if !s.misbehave(c, e, name, err) {
		s.answer(c, e, err)
	}
}

// answer runs the endpoint unless there is an error already. It is the only
// place that turns errors into answers.
func (s *Server) answer(c *call, e *endpoint, err error) {
	if err == nil {
		err = s.run(e, c)
	}
	if err == nil {
		return
	}
	var p *problem
	if !errors.As(err, &p) {
		s.log.Printf("%s %s: %v", c.r.Method, c.r.URL.Path, err)
		p = newProblem(http.StatusInternalServerError, err.Error())
	}
	s.writeProblem(c.w, p)
}

func (s *Server) run(e *endpoint, c *call) error {
	if d := time.Duration(s.cfg.LatencyMS) * time.Millisecond; d > 0 && !s.pause(c.r.Context(), d) {
		return newProblem(http.StatusServiceUnavailable, "the service is stopping")
	}
	if err := s.authenticate(c); err != nil {
		return err
	}
	return e.handle(s, c)
}
