package mockapi

import (
	"net/http"
	"strings"
	"sync"
)

// signingRequest is a regular (queued) signing request. The signature is made
// at once and handed out when the request is Completed.
type signingRequest struct {
	id        string
	org       *organization
	policy    *policy
	job       *job
	signature []byte
	polls     int // status answers still to be InProgress
	canceled  bool
}

// queue holds the requests of one run of the service.
type queue struct {
	mu       sync.Mutex
	requests map[string]*signingRequest
}

// queues reports whether the configuration makes this call a queued request.
func (s *Server) queues(c *call, p *policy) bool {
	g := &s.cfg.Generations.SigningRequests
	switch {
	case strings.HasSuffix(c.r.URL.Path, "/SignHash"):
		g = &s.cfg.Generations.SignHash
	case strings.HasSuffix(c.r.URL.Path, "/SubmitWithArtifact"):
		g = &s.cfg.Generations.SubmitWithArtifact
	}
	return g.Queued || p.Queued
}

// enqueue files a request and answers 201 with its address.
func (s *Server) enqueue(c *call, p *policy, j *job, id string, signature []byte) error {
	s.queue.mu.Lock()
	s.queue.requests[id] = &signingRequest{id: id, org: c.org, policy: p, job: j, signature: signature, polls: s.cfg.QueuePolls}
	s.queue.mu.Unlock()
	c.w.Header().Set("Location", s.requestURL(c.org, id))
	return writeJSON(c.w, http.StatusCreated, signHashAnswer{SigningRequestID: id, WebLink: s.webLink(c.org, id)})
}

func (s *Server) requestURL(o *organization, id string) string {
	return s.APIURL() + "/v1/" + o.id + "/SigningRequests/" + id
}

func (s *Server) webLink(o *organization, id string) string {
	return strings.TrimSuffix(s.APIURL(), "/Api") + "/Web/" + o.id + "/SigningRequests/" + id
}

// request finds the request of a call and runs f on it under the lock.
func (s *Server) request(c *call, f func(*signingRequest) error) error {
	id := strings.ToLower(c.path["id"])
	if id == emptyUUID {
		return invalid("signingRequestId", "The signing request id must not be empty.")
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	r := s.queue.requests[id]
	if r == nil || r.org != c.org {
		return notFound("There is no signing request %.36q.", id)
	}
	if !r.policy.admits(c.user) {
		return forbidden("The user '%s' may not see this signing request.", c.user.name)
	}
	return f(r)
}

// state returns status, workflowStatus and isFinalStatus.
func (r *signingRequest) state() (string, string, bool) {
	switch {
	case r.canceled:
		return "Canceled", "Canceled", true
	case r.polls > 0:
		return "InProgress", "Processing", false
	}
	return "Completed", "Completed", true
}

// poll is what one look at the request costs: a look later it is further on.
func (r *signingRequest) poll() map[string]any {
	status, workflow, final := r.state()
	if r.polls > 0 {
		r.polls--
	}
	return map[string]any{"status": status, "workflowStatus": workflow, "isFinalStatus": final}
}

func (s *Server) signingRequestStatus(c *call) error {
	return s.request(c, func(r *signingRequest) error { return writeJSON(c.w, http.StatusOK, r.poll()) })
}

func (s *Server) signingRequest(c *call) error {
	return s.request(c, func(r *signingRequest) error {
		answer := r.poll()
		answer["signingRequestId"] = r.id
		answer["projectSlug"] = r.policy.project.Slug
		answer["signingPolicySlug"] = r.policy.Slug
		answer["description"] = r.job.description
		answer["webLink"] = s.webLink(r.org, r.id)
		answer["signedArtifactLink"] = s.requestURL(r.org, r.id) + "/SignedArtifact"
		return writeJSON(c.w, http.StatusOK, answer)
	})
}

func (s *Server) signedArtifact(c *call) error {
	return s.request(c, func(r *signingRequest) error {
		if status, _, _ := r.state(); status != "Completed" {
			return invalid("", "The signing request is %s, so there is no signed artifact.", status)
		}
		return writeJSON(c.w, http.StatusOK, r.job.signedArtifact(r.signature))
	})
}

func (s *Server) cancel(c *call) error {
	return s.request(c, func(r *signingRequest) error {
		if status, _, final := r.state(); final {
			return invalid("", "The signing request is %s and cannot be canceled.", status)
		}
		r.canceled = true
		c.w.WriteHeader(http.StatusOK)
		return nil
	})
}
