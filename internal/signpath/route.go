package signpath

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"unicode"

	"signkit/internal/config"
	"signkit/internal/key"
)

// generation is one of the three forms that the service's sign call has had.
type generation struct {
	name    string // value of SIGNKIT_SIGN_ROUTE
	path    string
	request func(*Client, *Key, *signRequest) (contentType string, body []byte, err error)
}

// generations in the order in which they are tried: current, original, in between.
func generations() []generation {
	return []generation{
		{config.RouteSignHash, "SigningRequests/SignHash", (*Client).signHashBody},
		{config.RouteSigningRequests, "SigningRequests", (*Client).artifactBody},
		{config.RouteSubmitWithArtifact, "SigningRequests/SubmitWithArtifact", (*Client).artifactBody},
	}
}

// signResult is the service's answer to a sign call, of any generation.
type signResult struct {
	signature []byte // as the service sent it; nil: the request was queued
	echo      []byte // the hash that the service says it signed; may be nil
	id        string // of the signing request; may be ""
	webLink   string
}

// signHash makes the sign call on the pinned route, the one that worked before, or the
// first that the service knows. It returns a result with a signature.
func (c *Client) signHash(ctx context.Context, k *Key, r *signRequest) (*signResult, error) {
	all := generations()
	if i, pinned := c.fixedRoute(all); i >= 0 {
		result, err := c.signVia(ctx, all[i], k, r)
		if pinned || !errors.Is(err, errHashNotInGeneration) {
			return result, err
		}
	}
	var first error
	unknown := false
	for i, g := range all {
		result, err := c.signVia(ctx, g, k, r)
		if e, ok := asError(err); ok {
			unknown = unknown || e.unknown // of another route, too
			e.unknown = unknown
		}
		switch {
		case err == nil:
			c.rememberRoute(i, g, first)
			return result, nil
		case errors.Is(err, errHashNotInGeneration):
			continue // says nothing about the service
		case !olderService(err):
			return nil, err
		}
		c.log.Debug("the service does not know this sign route", "route", g.name, "error", err)
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// fixedRoute is the index of the route that is pinned or remembered, else -1.
func (c *Client) fixedRoute(all []generation) (i int, pinned bool) {
	for i, g := range all {
		if g.name == c.cfg.SignRoute {
			return i, true
		}
	}
	return int(c.route.Load()) - 1, false
}

// rememberRoute keeps the answer for the life of the client. first is nil when nothing had
// to be tried before; it then holds back where a hash skipped the current generation.
func (c *Client) rememberRoute(i int, g generation, first error) {
	if i > 0 && first == nil {
		return
	}
	if c.route.Swap(int32(i+1)) == 0 && i > 0 {
		c.log.Info("this service knows only an older sign route; pin it to save the attempts with the newer one",
			"setting", "SIGNKIT_SIGN_ROUTE="+g.name)
	}
}

// olderService reports an answer that says that the route or its body is not known.
func olderService(err error) bool {
	e, ok := asError(err)
	if !ok {
		return false
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		return true
	case http.StatusBadRequest:
		return namesHashSigningData(e.Fields)
	}
	return false
}

// namesHashSigningData accepts the forms that validators use: hashSigningData,
// $.hashSigningData, HashSigningData.Hash.
func namesHashSigningData(fields []string) bool {
	for _, field := range fields {
		if strings.Contains(strings.ToLower(field), "hashsigningdata") {
			return true
		}
	}
	return false
}

func (c *Client) signVia(ctx context.Context, g generation, k *Key, r *signRequest) (*signResult, error) {
	contentType, body, err := g.request(c, k, r)
	if err != nil {
		return nil, err
	}
	q := call{method: http.MethodPost, path: g.path, contentType: contentType, body: body}
	a, err := c.send(ctx, q)
	if err != nil {
		return nil, err
	}
	result, err := c.readSignature(q, a)
	if err != nil || result.signature != nil {
		return result, err
	}
	return c.awaitSignature(ctx, result)
}

// signAnswer has the properties of all generations' answers.
type signAnswer struct {
	SigningRequestID string `json:"signingRequestId"`
	WebLink          string `json:"webLink"`
	HashSigningData  struct {
		Hash string `json:"hash"`
	} `json:"hashSigningData"`
	HashSigningResult struct {
		Signature string `json:"signature"`
	} `json:"hashSigningResult"`
	Base64EncodedHash string `json:"Base64EncodedHash"`
	Signature         string `json:"Signature"`
}

// readSignature reads a 2xx answer. One without a signature must name a signing request.
func (c *Client) readSignature(q call, a *answer) (*signResult, error) {
	var s signAnswer
	location := lastSegment(a.header.Get("Location"))
	if len(a.body) > 0 || location == "" {
		if err := c.decode(q, a, &s); err != nil {
			return nil, err
		}
	}
	result := &signResult{id: s.SigningRequestID, webLink: s.WebLink}
	if result.id == "" {
		result.id = location
	}
	var err error
	if result.signature, err = decodeBase64(s.HashSigningResult.Signature + s.Signature); err != nil {
		return nil, c.badAnswer(q, a, "its signature is not base64")
	}
	if result.echo, err = decodeBase64(s.HashSigningData.Hash + s.Base64EncodedHash); err != nil {
		return nil, c.badAnswer(q, a, "its hash is not base64")
	}
	if result.signature == nil && !isRequestID(result.id) {
		return nil, c.badAnswer(q, a, "it holds neither a signature nor a signing request")
	}
	return result, nil
}

func (c *Client) badAnswer(q call, a *answer, text string) *Error {
	return &Error{failure: failure{Kind: key.BadAnswer}, Method: q.method, Path: c.path(q), Status: a.status,
		Cause: ErrWrongSignature, cause: "the answer is not usable: " + text}
}

// decodeBase64 returns nil for an empty text, and ignores white space.
func decodeBase64(text string) ([]byte, error) {
	text = strings.Join(strings.Fields(text), "")
	if text == "" {
		return nil, nil
	}
	return base64.StdEncoding.DecodeString(text)
}

// isRequestID accepts what can stand in a path as it is: UUIDs, and other ids of that kind.
func isRequestID(id string) bool {
	return id != "" && len(id) <= 100 && strings.IndexFunc(id, func(r rune) bool {
		return r > unicode.MaxASCII || r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0
}

// lastSegment of a URL is the id in a Location header. The rest of it is not used: polling
// stays on the API that was configured.
func lastSegment(location string) string {
	location, _, _ = strings.Cut(location, "?")
	location = strings.TrimRight(location, "/")
	return location[strings.LastIndexByte(location, '/')+1:]
}
