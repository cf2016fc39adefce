// Package notation is a signing plugin for Notary Project's notation: one command per process, a
// JSON request on stdin, a JSON answer on stdout, a JSON error on stderr (Notary Project,
// plugin-extensibility.md, contract 1.0). It signs what notation gives it, so that both envelope
// formats, JWS and COSE, and time-stamps are notation's own work.
package notation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"signkit/internal/logging"
)

// contractVersion is the only version of the contract there is.
const contractVersion = "1.0"

// maxRequest is what notation itself reads from a plugin at most.
const maxRequest = 64 << 20

// metadata is the answer to get-plugin-metadata.
type metadata struct {
	Name                      string   `json:"name"`
	Description               string   `json:"description"`
	Version                   string   `json:"version"`
	URL                       string   `json:"url"`
	SupportedContractVersions []string `json:"supportedContractVersions"`
	Capabilities              []string `json:"capabilities"`
}

// request holds the fields of every request; each command has some of them.
type request struct {
	ContractVersion string            `json:"contractVersion"`
	KeyID           string            `json:"keyId"`
	KeySpec         string            `json:"keySpec"`
	HashAlgorithm   string            `json:"hashAlgorithm"`
	Payload         []byte            `json:"payload"`
	PluginConfig    map[string]string `json:"pluginConfig"`
}

// keyDescription is the answer to describe-key.
type keyDescription struct {
	KeyID   string `json:"keyId"`
	KeySpec string `json:"keySpec"`
}

// rawSignature is the answer to generate-signature.
type rawSignature struct {
	KeyID            string   `json:"keyId"`
	Signature        []byte   `json:"signature"`
	SigningAlgorithm string   `json:"signingAlgorithm"`
	CertificateChain [][]byte `json:"certificateChain"` // DER, from the leaf to the root
}

// Error codes of the contract.
const (
	codeValidation      = "VALIDATION_ERROR"
	codeContractVersion = "UNSUPPORTED_CONTRACT_VERSION"
	codeAccessDenied    = "ACCESS_DENIED"
	codeTimeout         = "TIMEOUT"
	codeThrottled       = "THROTTLED"
	codeOther           = "ERROR"
)

// failure is an error with its code in the contract.
type failure struct {
	Code    string `json:"errorCode"`
	Message string `json:"errorMessage"`
}

func (f *failure) Error() string { return f.Message }

func invalid(format string, args ...any) error {
	return &failure{codeValidation, fmt.Sprintf(format, args...)}
}

// readRequest reads the one JSON object of a call.
func readRequest(r io.Reader) (*request, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxRequest+1))
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	if len(data) > maxRequest {
		return nil, invalid("the request is longer than %d bytes", maxRequest)
	}
	q := new(request)
	if err := json.Unmarshal(data, q); err != nil {
		return nil, invalid("the request is not JSON of the plugin contract: %v", err)
	}
	return q, nil
}

// check refuses a request that lacks what its command needs.
func (q *request) check(fields ...string) error {
	if q.ContractVersion != contractVersion {
		return &failure{codeContractVersion,
			fmt.Sprintf("contract version %q is not supported, only %s", q.ContractVersion, contractVersion)}
	}
	have := map[string]bool{
		"keyId": q.KeyID != "", "keySpec": q.KeySpec != "", "hashAlgorithm": q.HashAlgorithm != "", "payload": len(q.Payload) > 0,
	}
	for _, name := range fields {
		if !have[name] {
			return invalid("the request has no %s", name)
		}
	}
	return nil
}

// writeFailure writes the error that notation shows. Nothing else may be on stderr: notation
// reads all of it as this one object.
func writeFailure(w io.Writer, err error) {
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{codeOf(err), err.Error()}
	}
	lines := strings.Split(f.Message, "\n")
	for i, line := range lines {
		lines[i] = logging.Line(line) // notation prints it as it is
	}
	data, err := json.Marshal(failure{f.Code, strings.Join(lines, "\n")})
	if err != nil {
		data = []byte(`{"errorCode":"ERROR","errorMessage":"the error cannot be written as JSON"}`)
	}
	fmt.Fprintf(w, "%s\n", data)
}
