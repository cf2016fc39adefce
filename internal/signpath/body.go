package signpath

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/textproto"

	"signkit/internal/caller"
)

// errHashNotInGeneration reports a hash that only the older sign routes have.
var errHashNotInGeneration = errors.New("the current sign route has no MD5; SIGNKIT_SIGN_ROUTE pins it")

// signHashBody is the JSON body of the current generation.
func (c *Client) signHashBody(k *Key, r *signRequest) (string, []byte, error) {
	data := &hashSigningData{Hash: r.sent, Metadata: c.metadata(r.asking)}
	switch r.scheme {
	case ecdsaScheme:
		data.SignatureAlgorithm = "Ecdsa"
		data.ECDSA = &ecdsaOptions{SignatureFormat: "Ieee"}
	default:
		name := rsaHashNames()[r.hash]
		if name == "" {
			return "", nil, fmt.Errorf("%w: %w", ErrUnsupported, errHashNotInGeneration)
		}
		data.SignatureAlgorithm = "Rsa"
		data.RSA = &rsaOptions{HashAlgorithmName: name, PaddingMode: "Pkcs1"}
		if r.scheme == rsaPSS {
			data.RSA.PaddingMode = "Pss"
		}
	}
	body, err := json.Marshal(signHashRequest{k.project, k.policy, c.description(), data})
	return "application/json", body, err
}

func rsaHashNames() map[crypto.Hash]string {
	return map[crypto.Hash]string{crypto.SHA1: "Sha1", crypto.SHA256: "Sha256", crypto.SHA384: "Sha384", crypto.SHA512: "Sha512"}
}

type signHashRequest struct {
	ProjectSlug       string           `json:"projectSlug"`
	SigningPolicySlug string           `json:"signingPolicySlug"`
	Description       string           `json:"description,omitempty"`
	HashSigningData   *hashSigningData `json:"hashSigningData"`
}

type hashSigningData struct {
	SignatureAlgorithm string        `json:"signatureAlgorithm"`
	RSA                *rsaOptions   `json:"rsaOptions,omitempty"`
	ECDSA              *ecdsaOptions `json:"ecdsaOptions,omitempty"`
	Hash               []byte        `json:"hash"`
	Metadata           *metadata     `json:"metadata,omitempty"`
}

type rsaOptions struct {
	HashAlgorithmName string `json:"hashAlgorithmName"`
	PaddingMode       string `json:"paddingMode"`
}

type ecdsaOptions struct {
	SignatureFormat string `json:"signatureFormat"`
}

type metadata struct {
	SourceProcess *sourceProcess `json:"sourceProcess,omitempty"`
	CIJobURL      string         `json:"ciJobUrl,omitempty"`
	CommitID      string         `json:"commitId,omitempty"`
}

type sourceProcess struct {
	CommandLine     string           `json:"commandLine,omitempty"`
	User            string           `json:"user,omitempty"`
	OperatingSystem *operatingSystem `json:"operatingSystem,omitempty"`
}

type operatingSystem struct {
	Type         string `json:"type,omitempty"`
	Version      string `json:"version,omitempty"`
	Architecture string `json:"architecture,omitempty"`
}

// description is what the service files with the signing request.
func (c *Client) description() string {
	if c.cfg.Description != "" {
		return c.cfg.Description
	}
	return "signkit"
}

// maxCommandLine keeps the metadata small; the whole request is one audit entry.
const maxCommandLine = 4000

// asking describes the process that asks for the signature: that of the context, else that of
// the options. nil: nothing is known of it.
func (c *Client) asking(ctx context.Context) *caller.Process {
	process := caller.FromContext(ctx)
	if process == nil {
		process = c.process
	}
	if process == nil {
		return nil
	}
	p := process()
	p.CommandLine = c.clean(p.CommandLine, maxCommandLine)
	p.User = c.clean(p.User, 200)
	if p.CommandLine == "" && p.User == "" {
		return nil
	}
	return &p
}

func (c *Client) metadata(p *caller.Process) *metadata {
	m := &metadata{CIJobURL: c.clean(c.cfg.CI.JobURL, 1000), CommitID: c.clean(c.cfg.CI.Commit, 100)}
	if p != nil {
		m.SourceProcess = &sourceProcess{CommandLine: p.CommandLine, User: p.User}
		if system := (operatingSystem{p.OSType, p.OSVersion, p.Architecture}); system != (operatingSystem{}) {
			m.SourceProcess.OperatingSystem = &system
		}
	}
	if *m == (metadata{}) {
		return nil
	}
	return m
}

// artifact is the payload of the older generations.
type artifact struct {
	SignatureAlgorithm   string
	RsaHashAlgorithm     string            `json:",omitempty"`
	EcdsaSignatureFormat string            `json:",omitempty"`
	Base64EncodedHash    []byte            // base64 in JSON
	Metadata             *artifactMetadata `json:",omitempty"`
}

type artifactMetadata struct {
	CreatingProcess *creatingProcess `json:",omitempty"`
	CiJobUrl        string           `json:",omitempty"`
	CommitId        string           `json:",omitempty"`
}

type creatingProcess struct{ CommandLine, User string }

// artifactBody is the multipart body of the two older generations.
func (c *Client) artifactBody(k *Key, r *signRequest) (string, []byte, error) {
	payload, err := json.Marshal(c.artifact(r))
	if err != nil {
		return "", nil, err
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	fields := [][2]string{{"ProjectSlug", k.project}, {"SigningPolicySlug", k.policy}, {"IsFastSigningRequest", "true"}, {"Description", c.description()}}
	for _, f := range fields {
		err = errors.Join(err, w.WriteField(f[0], f[1]))
	}
	part, partErr := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="Artifact"; filename="payload.json"`},
		"Content-Type":        {"application/json"},
	})
	if err = errors.Join(err, partErr); err != nil {
		return "", nil, err
	}
	_, err = part.Write(payload)
	err = errors.Join(err, w.Close())
	return w.FormDataContentType(), body.Bytes(), err
}

func (c *Client) artifact(r *signRequest) artifact {
	a := artifact{Base64EncodedHash: r.sent, Metadata: c.artifactMetadata(r.asking)}
	switch r.scheme {
	case ecdsaScheme:
		a.SignatureAlgorithm, a.EcdsaSignatureFormat = "Ecdsa", "Ieee"
	case rsaPSS:
		a.SignatureAlgorithm, a.RsaHashAlgorithm = "RsaPss", rsaHashOID(r.hash)
	default:
		a.SignatureAlgorithm, a.RsaHashAlgorithm = "RsaPkcs1", rsaHashOID(r.hash)
	}
	return a
}

func (c *Client) artifactMetadata(p *caller.Process) *artifactMetadata {
	m := &artifactMetadata{CiJobUrl: c.clean(c.cfg.CI.JobURL, 1000), CommitId: c.clean(c.cfg.CI.Commit, 100)}
	if p != nil {
		m.CreatingProcess = &creatingProcess{p.CommandLine, p.User}
	}
	if *m == (artifactMetadata{}) {
		return nil
	}
	return m
}
