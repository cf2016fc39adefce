package mockapi

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
)

// maxBody bounds a request body. Command lines in metadata are the longest part of real ones.
const maxBody = 1 << 20

// form is the multipart body of generations A and B, names in lower case.
type form struct {
	fields   map[string]string
	artifact []byte // nil when there is none
}

// formFields are the names a form may have besides Artifact and Parameters.NAME.
var formFields = map[string]bool{
	"projectslug": true, "signingpolicyslug": true, "artifactconfigurationslug": true,
	"isfastsigningrequest": true, "description": true, "cancellationtimeoutinseconds": true,
}

// submitMultipart serves generations A and B: the artifact is a JSON file
// that names the hash, and the signed artifact is the same with a signature.
func (s *Server) submitMultipart(c *call) error {
	f, err := readForm(c.w, c.r)
	if err != nil {
		return err
	}
	j, err := f.job()
	if err != nil {
		return err
	}
	fast, err := f.boolean("IsFastSigningRequest")
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
	if !fast || s.queues(c, p) {
		return s.enqueue(c, p, j, id, signature)
	}
	return writeJSON(c.w, http.StatusOK, j.signedArtifact(signature))
}

func readForm(w http.ResponseWriter, r *http.Request) (*form, error) {
	mediaType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" {
		return nil, newProblem(http.StatusUnsupportedMediaType, "want multipart/form-data")
	}
	f := &form{fields: map[string]string{}}
	// Not ParseMultipartForm: it may want a temporary folder.
	parts := multipart.NewReader(http.MaxBytesReader(w, r.Body, maxBody), params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return f, nil
		}
		if err != nil {
			return nil, bodyProblem(err)
		}
		if err := f.add(part); err != nil {
			return nil, err
		}
	}
}

// add takes one part in. Names are compared without regard to case; unknown and repeated ones are refused.
func (f *form) add(part *multipart.Part) error {
	name := strings.ToLower(part.FormName())
	data, err := io.ReadAll(part)
	if err != nil {
		return bodyProblem(err)
	}
	if name == "artifact" && part.FileName() != "" {
		if f.artifact != nil {
			return invalid("Artifact", "There is more than one artifact.")
		}
		f.artifact = data
		return nil
	}
	parameter, isParameter := strings.CutPrefix(name, "parameters.")
	if !formFields[name] && !(isParameter && parameter != "") {
		return invalid(part.FormName(), "The field '%.60s' is not known.", part.FormName())
	}
	if _, twice := f.fields[name]; twice {
		return invalid(part.FormName(), "The field '%.60s' is there twice.", part.FormName())
	}
	f.fields[name] = string(data)
	return nil
}

// bodyProblem tells a body that is too long from one that cannot be read.
func bodyProblem(err error) error {
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return newProblem(http.StatusRequestEntityTooLarge, "the body is longer than 1 MiB")
	}
	return invalid("", "The body cannot be read: %v.", err)
}

func (f *form) boolean(name string) (bool, error) {
	switch text := f.fields[strings.ToLower(name)]; strings.ToLower(text) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	default:
		return false, invalid(name, "The value '%.60s' is not valid for %s.", text, name)
	}
}

// artifactJSON is the artifact of generations A and B.
type artifactJSON struct {
	SignatureAlgorithm   string
	RsaHashAlgorithm     string
	EcdsaSignatureFormat string
	Base64EncodedHash    *string
	Metadata             json.RawMessage
}

// job checks everything that needs no policy.
func (f *form) job() (*job, error) {
	for _, name := range []string{"ProjectSlug", "SigningPolicySlug"} {
		if f.fields[strings.ToLower(name)] == "" {
			return nil, invalid(name, "The %s field is required.", name)
		}
	}
	if seconds, ok := f.fields["cancellationtimeoutinseconds"]; ok {
		if n, err := strconv.Atoi(seconds); err != nil || n < 0 {
			return nil, invalid("CancellationTimeoutInSeconds", "The value '%.60s' is not a number of seconds.", seconds)
		}
	}
	if f.artifact == nil {
		return nil, invalid("Artifact", "The Artifact field is required.")
	}
	j := &job{
		projectSlug: f.fields["projectslug"], policySlug: f.fields["signingpolicyslug"],
		artifactConfigurationSlug: f.fields["artifactconfigurationslug"], description: f.fields["description"],
	}
	return j, j.readArtifact(f.artifact)
}

func (j *job) readArtifact(data []byte) (err error) {
	var a artifactJSON
	if json.Unmarshal(data, &a) != nil || json.Unmarshal(data, &j.artifact) != nil || j.artifact == nil {
		return invalid("", "The artifact is not a readable JSON object.")
	}
	if a.Base64EncodedHash == nil {
		return invalid("", "The artifact has no Base64EncodedHash.")
	}
	if j.digest, err = decodeHash(*a.Base64EncodedHash); err != nil {
		return err
	}
	j.algorithm, j.metadata = a.SignatureAlgorithm, a.Metadata
	switch a.SignatureAlgorithm {
	case algorithmPKCS1, algorithmPSS:
		j.hash, err = hashByOID(a.RsaHashAlgorithm)
	case algorithmECDSA:
		j.asn1, err = isASN1(a.EcdsaSignatureFormat)
	default:
		err = invalid("", "The signature algorithm '%.60s' is not supported.", a.SignatureAlgorithm)
	}
	return err
}

// isASN1 reads a signature format of any generation; the default is Ieee.
func isASN1(format string) (bool, error) {
	switch format {
	case "Asn1":
		return true, nil
	case "", "Ieee":
		return false, nil
	}
	return false, invalid("", "The signature format '%.60s' is not supported.", format)
}

// signedArtifact is the artifact as it came, with the signature in it.
func (j *job) signedArtifact(signature []byte) map[string]any {
	out := map[string]any{"Signature": signature}
	for name, value := range j.artifact {
		if name != "Signature" {
			out[name] = value
		}
	}
	return out
}
