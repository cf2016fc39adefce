package signpath

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// What an agent needs to be a service of this kind for the clients of one job: it reads their
// calls, lets its own Client make what they ask for, and answers in the service's words.

// PolicyDocument is the answer of the policies route with these keys.
func PolicyDocument(keys []*Key) ([]byte, error) {
	list := make([]json.RawMessage, 0, len(keys))
	for _, key := range keys {
		if key.document != nil {
			list = append(list, key.document)
		}
	}
	return json.Marshal(policyList{&list})
}

// CertificateDocument is the answer of the certificates route with the certificates of these keys
// and their issuers.
func CertificateDocument(ctx context.Context, keys []*Key) ([]byte, error) {
	type document struct {
		Type  string   `json:"type"`
		Leaf  []byte   `json:"x509CertificateData"`
		Chain [][]byte `json:"x509CertificateChain"`
	}
	list := []document{}
	for _, key := range keys {
		if key.certificate == nil {
			continue
		}
		chain, err := key.Chain(ctx)
		if err != nil {
			return nil, err
		}
		d := document{Type: "X509", Leaf: key.certificate.Raw, Chain: [][]byte{key.certificate.Raw}}
		for _, issuer := range chain {
			d.Chain = append(d.Chain, issuer.Raw)
		}
		list = append(list, d)
	}
	return json.Marshal(list)
}

// SignCall is what a client asks of the sign route.
type SignCall struct {
	Project, Policy string
	Digest          []byte
	Options         crypto.SignerOpts
}

// ReadSignCall reads the body of the current sign route.
func ReadSignCall(body []byte) (*SignCall, error) {
	var request signHashRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, err
	}
	data := request.HashSigningData
	if data == nil {
		return nil, errors.New("there is no hashSigningData")
	}
	c := &SignCall{Project: request.ProjectSlug, Policy: request.SigningPolicySlug, Digest: data.Hash}
	switch {
	case data.SignatureAlgorithm == "Ecdsa" && data.ECDSA != nil && data.ECDSA.SignatureFormat == "Ieee":
		c.Options = ECDSAOptions{Format: P1363}
		return c, nil
	case data.SignatureAlgorithm == "Rsa" && data.RSA != nil:
		return c, c.readRSA(data.RSA)
	}
	return nil, fmt.Errorf("%w: signature algorithm %q", ErrUnsupported, data.SignatureAlgorithm)
}

func (c *SignCall) readRSA(o *rsaOptions) error {
	for hash, name := range rsaHashNames() {
		if name != o.HashAlgorithmName {
			continue
		}
		switch o.PaddingMode {
		case "Pkcs1":
			c.Options = hash
			return nil
		case "Pss":
			c.Options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
			return nil
		}
	}
	return fmt.Errorf("%w: RSA with %q and %q", ErrUnsupported, o.HashAlgorithmName, o.PaddingMode)
}

// Answer is the answer to the call.
func (c *SignCall) Answer(signed *Signed) ([]byte, error) {
	type hash struct {
		Hash []byte `json:"hash"`
	}
	type signature struct {
		Signature []byte `json:"signature"`
	}
	return json.Marshal(struct {
		RequestID string    `json:"signingRequestId"`
		WebLink   string    `json:"webLink"`
		Data      hash      `json:"hashSigningData"`
		Result    signature `json:"hashSigningResult"`
	}{signed.RequestID, signed.WebLink, hash{c.Digest}, signature{signed.Signature}})
}

// ProblemDocument is an error as the service tells it (RFC 9457): the status and the body. What the service
// did not say itself is a fault of the way to it.
func ProblemDocument(err error) (status int, body []byte) {
	problem := struct {
		Title   string              `json:"title"`
		TraceID string              `json:"traceId,omitempty"`
		Errors  map[string][]string `json:"errors,omitempty"`
	}{Title: err.Error()}
	status = http.StatusInternalServerError
	e, fromService := asError(err)
	switch {
	case fromService && e.Status >= 400:
		status, problem.TraceID = e.Status, e.TraceID
		texts := slices.DeleteFunc(append(slices.Clone(e.Texts), e.tried, e.Hint), func(text string) bool { return text == "" })
		problem.Title = strings.Join(texts, "; ")
		for _, field := range e.Fields {
			if problem.Errors == nil {
				problem.Errors = map[string][]string{}
			}
			problem.Errors[field] = []string{}
		}
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		status = http.StatusGatewayTimeout
	case fromService && e.Kind.Transient():
		status = http.StatusServiceUnavailable
	case fromService:
		status = http.StatusBadGateway
	case errors.Is(err, ErrUnsupported), errors.Is(err, ErrDigestLength):
		status = http.StatusBadRequest
	}
	body, _ = json.Marshal(problem) // it is texts
	return status, body
}
