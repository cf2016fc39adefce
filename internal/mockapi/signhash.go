package mockapi

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
)

// signHashRequest is the body of generation C.
type signHashRequest struct {
	ProjectSlug               string       `json:"projectSlug"`
	SigningPolicySlug         string       `json:"signingPolicySlug"`
	ArtifactConfigurationSlug string       `json:"artifactConfigurationSlug"`
	Description               string       `json:"description"`
	HashSigningData           *hashRequest `json:"hashSigningData"`
}

type hashRequest struct {
	Hash               *string       `json:"hash"`
	SignatureAlgorithm string        `json:"signatureAlgorithm"`
	RSAOptions         *rsaOptions   `json:"rsaOptions"`
	ECDSAOptions       *ecdsaOptions `json:"ecdsaOptions"`
	Metadata           json.RawMessage
}

type rsaOptions struct {
	HashAlgorithmName string `json:"hashAlgorithmName"`
	HashAlgorithmOID  string `json:"hashAlgorithmOid"`
	PaddingMode       string `json:"paddingMode"`
}

type ecdsaOptions struct {
	SignatureFormat string `json:"signatureFormat"`
}

// signHashAnswer is the answer of generation C. Queued requests have no signature yet.
type signHashAnswer struct {
	SigningRequestID string         `json:"signingRequestId"`
	WebLink          string         `json:"webLink"`
	Data             map[string]any `json:"hashSigningData,omitempty"`
	Result           map[string]any `json:"hashSigningResult,omitempty"`
}

// signHash serves generation C.
func (s *Server) signHash(c *call) error {
	request, err := readSignHash(c.w, c.r)
	if err != nil {
		return err
	}
	j, err := request.job()
	if err != nil {
		return err
	}
	p, err := c.org.authorize(c.user, j)
	if err != nil {
		return err
	}
	id := newUUID()
	signature, err := s.signature(c, p, j, id)
	if err != nil {
		return err
	}
	if s.queues(c, p) {
		return s.enqueue(c, p, j, id, signature)
	}
	return writeJSON(c.w, http.StatusOK, signHashAnswer{
		SigningRequestID: id, WebLink: s.webLink(c.org, id),
		Data: map[string]any{"hash": j.digest}, Result: map[string]any{"signature": signature},
	})
}

func readSignHash(w http.ResponseWriter, r *http.Request) (*signHashRequest, error) {
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, newProblem(http.StatusUnsupportedMediaType, "want application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, bodyProblem(err)
	}
	request := new(signHashRequest)
	if err := json.Unmarshal(body, request); err != nil {
		return nil, invalid("$", "The body is not the JSON that is expected here: %v.", err)
	}
	for name, value := range map[string]string{"ProjectSlug": request.ProjectSlug, "SigningPolicySlug": request.SigningPolicySlug} {
		if value == "" {
			return nil, invalid(name, "The %s field is required.", name)
		}
	}
	if request.HashSigningData == nil || request.HashSigningData.Hash == nil {
		return nil, invalid("HashSigningData", "The HashSigningData field and its hash are required.")
	}
	return request, nil
}

// job checks everything that needs no policy.
func (r *signHashRequest) job() (*job, error) {
	data := r.HashSigningData
	j := &job{
		projectSlug: r.ProjectSlug, policySlug: r.SigningPolicySlug, artifactConfigurationSlug: r.ArtifactConfigurationSlug,
		description: r.Description, metadata: data.Metadata,
	}
	var err error
	if j.digest, err = decodeHash(*data.Hash); err != nil {
		return nil, err
	}
	switch data.SignatureAlgorithm {
	case "Rsa":
		err = j.setRSA(data.RSAOptions)
	case "Ecdsa":
		err = j.setECDSA(data.ECDSAOptions)
	default:
		err = invalid("", "The signature algorithm '%.60s' is not supported.", data.SignatureAlgorithm)
	}
	j.artifact = j.asArtifact()
	return j, err
}

func (j *job) setRSA(o *rsaOptions) (err error) {
	if o == nil || (o.HashAlgorithmName == "") == (o.HashAlgorithmOID == "") {
		return invalid("", "The rsaOptions need either hashAlgorithmName or hashAlgorithmOid.")
	}
	switch o.PaddingMode {
	case "", "Pkcs1":
		j.algorithm = algorithmPKCS1
	case "Pss":
		j.algorithm = algorithmPSS
	default:
		return invalid("", "The padding mode '%.60s' is not supported.", o.PaddingMode)
	}
	if o.HashAlgorithmName != "" {
		j.hash, err = hashByName(o.HashAlgorithmName)
		return err
	}
	if j.hash, err = hashByOID(o.HashAlgorithmOID); err == nil && j.hashName() == "" {
		err = invalid("", "The hash algorithm '%.60s' is not supported.", o.HashAlgorithmOID)
	}
	return err
}

func (j *job) setECDSA(o *ecdsaOptions) (err error) {
	j.algorithm = algorithmECDSA
	if o != nil {
		j.asn1, err = isASN1(o.SignatureFormat)
	}
	return err
}

// hashName is the hash's name in generation C; MD5 and an unknown hash have none.
func (j *job) hashName() string {
	for _, h := range hashNames {
		if h.hash == j.hash {
			return h.name
		}
	}
	return ""
}

// asArtifact is what a queued request of generation C files as its artifact,
// in the form of the older generations.
func (j *job) asArtifact() map[string]json.RawMessage {
	a := map[string]any{"SignatureAlgorithm": j.algorithm, "Base64EncodedHash": j.digest}
	if j.metadata != nil {
		a["Metadata"] = j.metadata
	}
	for _, h := range hashNames {
		if j.hash != 0 && h.hash == j.hash {
			a["RsaHashAlgorithm"] = h.oid
		}
	}
	if j.algorithm == algorithmECDSA {
		a["EcdsaSignatureFormat"] = map[bool]string{true: "Asn1", false: "Ieee"}[j.asn1]
	}
	out := map[string]json.RawMessage{}
	for name, value := range a {
		out[name], _ = json.Marshal(value) // strings, bytes and JSON that was parsed before
	}
	return out
}
