package mockapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// Fault makes the service misbehave on one route. Faults match in the order
// of the list; each is used Count times and then gone.
type Fault struct {
	// Route is policies, sign (the three signing routes), certificate, gpg,
	// tsa, or any (all of them and the rest of the API).
	Route string `json:"route"`
	// Kind is what happens instead of, or with, the answer:
	//   status           Status (default 503) and problem+json; RetryAfter becomes the header
	//   delay            the right answer after MS milliseconds
	//   hang             no answer until the client goes or the service stops
	//   reset            the TCP connection is reset
	//   garbage          Status (default 200) and bytes that are no JSON
	//   html             Status (default 200) and a web page, as a proxy's log-in page
	//   truncated        the right answer up to its middle, then the connection ends
	//   wrong-signature  (sign, tsa, any) a signature with one bit flipped
	//   wrong-key        (sign, tsa, any) a signature by another key of the same kind
	Kind string `json:"kind"`
	// Status is for status, garbage and html.
	Status int `json:"status,omitempty"`
	// RetryAfter is the value of the header: seconds (in JSON also as a number) or a date.
	RetryAfter HeaderValue `json:"retry_after,omitempty"`
	// MS is the delay in milliseconds.
	MS int `json:"ms,omitempty"`
	// Count is how often the fault is used: 0 means once, -1 until it is cleared.
	Count int `json:"count,omitempty"`
	// Every passes by all that it matches but each request of this number: with 50 the 50th, the 100th …; 0 and 1: none.
	Every int `json:"every,omitempty"`

	passed int // by Every, since it was used
}

// HeaderValue is text which JSON may also give as a number.
type HeaderValue string

// UnmarshalJSON takes a string or a number.
func (v *HeaderValue) UnmarshalJSON(data []byte) error {
	var number json.Number // it takes quoted numbers too, but no other text
	if err := json.Unmarshal(data, &number); err == nil {
		*v = HeaderValue(number)
		return nil
	}
	return json.Unmarshal(data, (*string)(v))
}

const (
	faultStatus         = "status"
	faultDelay          = "delay"
	faultHang           = "hang"
	faultReset          = "reset"
	faultGarbage        = "garbage"
	faultHTML           = "html"
	faultTruncated      = "truncated"
	faultWrongSignature = "wrong-signature"
	faultWrongKey       = "wrong-key"
)

var (
	faultRoutes = []string{"policies", "sign", "certificate", "gpg", "tsa", "any"}
	faultKinds  = []string{faultStatus, faultDelay, faultHang, faultReset, faultGarbage, faultHTML, faultTruncated, faultWrongSignature, faultWrongKey}
)

// faultList holds the faults still to be used.
type faultList struct {
	mu   sync.Mutex
	list []Fault
}

// needsSignature reports whether the fault only makes sense where something is signed.
func (f *Fault) needsSignature() bool {
	return f.Kind == faultWrongSignature || f.Kind == faultWrongKey
}

func signs(route string) bool { return route == "sign" || route == "tsa" }

func (f *Fault) check() error {
	switch {
	case !slices.Contains(faultRoutes, f.Route):
		return fmt.Errorf("route %q: want one of %v", f.Route, faultRoutes)
	case !slices.Contains(faultKinds, f.Kind):
		return fmt.Errorf("kind %q: want one of %v", f.Kind, faultKinds)
	case f.needsSignature() && f.Route != "any" && !signs(f.Route):
		return fmt.Errorf("kind %s: the route %s signs nothing", f.Kind, f.Route)
	case f.Kind == faultDelay && f.MS <= 0:
		return fmt.Errorf("kind delay: ms %d: want how many milliseconds", f.MS)
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("status %d: want 200 to 599", f.Status)
	case f.Count < -1:
		return fmt.Errorf("count %d: want -1 or more", f.Count)
	case f.Every < 0:
		return fmt.Errorf("every %d: want 0 or more", f.Every)
	}
	return nil
}

// SetFaults replaces all faults. It changes nothing when one of them is invalid.
func (s *Server) SetFaults(faults []Fault) error {
	list := slices.Clone(faults)
	for i := range list {
		if err := list[i].check(); err != nil {
			return fmt.Errorf("fault %d: %w", i, err)
		}
		if list[i].Count == 0 {
			list[i].Count = 1
		}
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = list
	return nil
}

// ClearFaults removes all faults. Requests that hang already go on hanging.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = nil
}

// Faults returns those still to be used, with the counts that are left.
func (s *Server) Faults() []Fault {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return append([]Fault{}, s.faults.list...)
}

// take uses the first fault that matches a route; nil when there is none.
func (l *faultList) take(route string) *Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		f := l.list[i]
		if f.Route != "any" && f.Route != route || f.needsSignature() && !signs(route) {
			continue
		}
		if f.passed+1 < f.Every {
			l.list[i].passed++
			continue
		}
		l.list[i].passed = 0
		if f.Count > 0 {
			l.list[i].Count--
		}
		if l.list[i].Count == 0 {
			l.list = slices.Delete(l.list, i, i+1)
		}
		return &f
	}
	return nil
}
