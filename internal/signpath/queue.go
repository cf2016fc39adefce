package signpath

import (
	"context"
	"fmt"
	"strings"
	"time"

	"signkit/internal/key"
)

const (
	firstPoll = time.Second // between two polls of a queued signing request, growing
	lastPoll  = 15 * time.Second
)

var (
	// ErrDenied reports that somebody denied the signing request that the service had queued.
	ErrDenied = key.NewError(key.Refused, "the signing request was denied")
	// ErrCanceled reports that somebody canceled it.
	ErrCanceled = key.NewError(key.Withdrawn, "the signing request was canceled")
)

// requestStatus is the state of a queued signing request.
type requestStatus struct {
	Status         string `json:"status"`
	WorkflowStatus string `json:"workflowStatus"`
	IsFinalStatus  *bool  `json:"isFinalStatus"`
	WebLink        string `json:"webLink"`
}

func (s *requestStatus) final() bool {
	switch strings.ToLower(s.Status) {
	case "completed", "failed", "denied", "canceled":
		return true
	}
	return s.IsFinalStatus != nil && *s.IsFinalStatus
}

// awaitSignature polls a signing request that the service queued, until it is done, ctx
// ends, or the total time of a call is over. The request is never submitted again.
func (c *Client) awaitSignature(ctx context.Context, r *signResult) (*signResult, error) {
	total := c.cfg.Timeouts.Total
	if total <= 0 {
		total = defaultTotal
	}
	c.log.Warn("the service queued the signing request instead of signing at once; waiting for it",
		"signingRequestId", c.clean(r.id, 100), "webLink", c.clean(r.webLink, 300), "atMost", total)
	start := c.now()
	for delay := firstPoll; ; delay = min(delay*3/2, lastPoll) {
		status, err := c.requestStatus(ctx, r.id)
		if err != nil {
			return nil, fmt.Errorf("waiting for signing request %s: %w", r.id, err)
		}
		if status.final() {
			return c.fetchSigned(ctx, r, status)
		}
		if c.now().Sub(start)+delay > total {
			return nil, fmt.Errorf("%w: signing request %s is not done after %s (status %s)%s",
				ErrTimeout, r.id, total, c.clean(status.Status, 100), c.linkNote(r.webLink))
		}
		if err := c.sleep(ctx, delay); err != nil {
			return nil, fmt.Errorf("waiting for signing request %s: %w", r.id, err)
		}
	}
}

// requestStatus asks the cheap route, and the older one where that is not known.
func (c *Client) requestStatus(ctx context.Context, id string) (*requestStatus, error) {
	q := get(0, "SigningRequests", id, "Status")
	a, err := c.send(ctx, q)
	if e, ok := asError(err); ok && e.Status == 404 {
		q = get(0, "SigningRequests", id)
		a, err = c.send(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	var status requestStatus
	return &status, c.decode(q, a, &status)
}

// ended is the error of a request that came to another end than a signature.
func (c *Client) ended(r *signResult, status *requestStatus) error {
	err := fmt.Errorf("signing request %s ended with status %s %s%s", r.id,
		c.clean(status.Status, 100), c.clean(status.WorkflowStatus, 100), c.linkNote(r.webLink))
	switch strings.ToLower(status.Status) {
	case "denied":
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case "canceled":
		return fmt.Errorf("%w: %w", ErrCanceled, err)
	}
	return err
}

func (c *Client) fetchSigned(ctx context.Context, r *signResult, status *requestStatus) (*signResult, error) {
	if !strings.EqualFold(status.Status, "Completed") {
		return nil, c.ended(r, status)
	}
	q := get(0, "SigningRequests", r.id, "SignedArtifact")
	a, err := c.send(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("fetching the signature of signing request %s: %w", r.id, err)
	}
	signed, err := c.readSignature(q, a)
	if err != nil {
		return nil, err
	}
	if signed.signature == nil {
		return nil, c.badAnswer(q, a, "the signed artifact holds no signature")
	}
	signed.id, signed.webLink = r.id, r.webLink
	return signed, nil
}

func (c *Client) linkNote(link string) string {
	if link == "" {
		return ""
	}
	return "; see " + c.clean(link, 300)
}
