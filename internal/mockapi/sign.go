package mockapi

import (
	"crypto"
	"crypto/ecdsa"
	_ "crypto/md5" // the hashes a request may name
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"signkit/internal/key"
)

// Signature algorithms as generations A and B name them.
const (
	algorithmPKCS1 = "RsaPkcs1"
	algorithmPSS   = "RsaPss"
	algorithmECDSA = "Ecdsa"
)

// job is one hash to sign, as all three generations end up.
type job struct {
	projectSlug, policySlug   string
	artifactConfigurationSlug string
	description               string
	algorithm                 string      // RsaPkcs1, RsaPss or Ecdsa
	hash                      crypto.Hash // what the digest was made with; 0 for Ecdsa, where requests do not say
	asn1                      bool        // Ecdsa: SEQUENCE of r and s, else r‖s of fixed size
	digest                    []byte
	metadata                  json.RawMessage
	artifact                  map[string]json.RawMessage // what the signed artifact repeats
}

// hashNames are the hashes of the service, by OID and by the name of generation C.
var hashNames = []struct {
	oid, name string
	hash      crypto.Hash
}{
	{"1.2.840.113549.2.5", "", crypto.MD5}, // generations A and B only
	{"1.3.14.3.2.26", "Sha1", crypto.SHA1},
	{"2.16.840.1.101.3.4.2.1", "Sha256", crypto.SHA256},
	{"2.16.840.1.101.3.4.2.2", "Sha384", crypto.SHA384},
	{"2.16.840.1.101.3.4.2.3", "Sha512", crypto.SHA512},
}

func hashByOID(oid string) (crypto.Hash, error) {
	for _, h := range hashNames {
		if h.oid == oid {
			return h.hash, nil
		}
	}
	return 0, invalid("", "The hash algorithm '%.60s' is not supported.", oid)
}

func hashByName(name string) (crypto.Hash, error) {
	for _, h := range hashNames {
		if h.name == name && name != "" {
			return h.hash, nil
		}
	}
	return 0, invalid("", "The hash algorithm '%.60s' is not supported.", name)
}

func decodeHash(text string) ([]byte, error) {
	digest, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, invalid("", "The hash is not valid base64.")
	}
	return digest, nil
}

// authorize finds the policy of a job and reports whether u may sign that job under it.
func (o *organization) authorize(u *user, j *job) (*policy, error) {
	p := o.policy(j.projectSlug, j.policySlug)
	if p == nil {
		return nil, invalid("SigningPolicySlug", "No signing policy with slug '%.100s' was found in project '%.100s'.", j.policySlug, j.projectSlug)
	}
	if !p.admits(u) {
		return nil, forbidden("The user '%s' is not a submitter of the signing policy '%s'.", u.name, p.Slug)
	}
	if p.Approval {
		return nil, invalid("SigningPolicyId", "The signing policy '%s' requires approval, which hash signing does not support.", p.Slug)
	}
	return p, p.project.checkArtifact(j.artifactConfigurationSlug)
}

// checkArtifact wants the named artifact configuration, or else the default one, to take hashes.
func (p *Project) checkArtifact(slug string) error {
	known := p.ArtifactConfigurations
	if len(known) == 0 {
		known = []ArtifactConfiguration{{"hash-signing", hashSigningData}}
	}
	i := 0
	if slug != "" {
		i = slices.IndexFunc(known, func(a ArtifactConfiguration) bool { return a.Slug == slug })
	}
	if i < 0 {
		return invalid("ArtifactConfigurationSlug", "No artifact configuration with slug '%.100s' was found in project '%s'.", slug, p.Slug)
	}
	if known[i].Type != hashSigningData {
		return invalid("", "The artifact configuration '%s' does not sign hashes.", known[i].Slug)
	}
	return nil
}

const hashSigningData = "HashSigningData"

// check compares the job with the kind of the key.
func (j *job) check(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if j.algorithm == algorithmECDSA {
			return invalid("", "The signature algorithm 'Ecdsa' does not fit the RSA key of the signing policy.")
		}
		if len(j.digest) != j.hash.Size() {
			return invalid("", "The hash has %d bytes, but its algorithm makes %d.", len(j.digest), j.hash.Size())
		}
	case *ecdsa.PublicKey:
		if j.algorithm != algorithmECDSA {
			return invalid("", "The signature algorithm '%s' does not fit the ECDSA key of the signing policy.", j.algorithm)
		}
		lengths := map[int][]int{256: {32}, 384: {48}, 521: {64, 66}}[k.Curve.Params().BitSize]
		if !slices.Contains(lengths, len(j.digest)) {
			return invalid("", "The hash has %d bytes, but keys on %s sign %v.", len(j.digest), k.Curve.Params().Name, lengths)
		}
	}
	return nil
}

// sign makes the signature. PSS salts are as long as the digest, and MGF1 uses the same hash.
func (j *job) sign(private crypto.Signer) ([]byte, error) {
	switch k := private.(type) {
	case *rsa.PrivateKey:
		if j.algorithm == algorithmPSS {
			return rsa.SignPSS(rand.Reader, k, j.hash, j.digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(nil, k, j.hash, j.digest)
	case *ecdsa.PrivateKey:
		der, err := ecdsa.SignASN1(rand.Reader, k, j.digest)
		if err != nil || j.asn1 {
			return der, err
		}
		return key.ToP1363(der, key.OrderSize(&k.PublicKey))
	}
	return nil, fmt.Errorf("a %T cannot sign", private)
}

// signature checks and signs a job, spoils the outcome where a fault asks for
// it, and writes the audit entry.
func (s *Server) signature(c *call, p *policy, j *job, requestID string) ([]byte, error) {
	m, err := p.certificate.load()
	if err != nil {
		return nil, err
	}
	if err := j.check(m.key.Public()); err != nil {
		return nil, err
	}
	key, err := c.signingKey(m.key, p.certificate)
	if err != nil {
		return nil, err
	}
	sig, err := j.sign(key)
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", p.certificate.Slug, err)
	}
	if err := s.audit.add(newAuditEntry(c, p, j, requestID)); err != nil {
		return nil, err
	}
	return c.spoil(sig), nil
}

// signingKey is the policy's own key, or a stranger of the same kind under the fault wrong-key.
func (c *call) signingKey(key crypto.Signer, cert *certificate) (crypto.Signer, error) {
	if c.fault == nil || c.fault.Kind != faultWrongKey {
		return key, nil
	}
	return newKey(cert.KeyType, cert.KeySizeInBits)
}

// spoil flips a bit in the middle of a signature under the fault wrong-signature.
func (c *call) spoil(sig []byte) []byte {
	if c.fault != nil && c.fault.Kind == faultWrongSignature {
		sig[len(sig)/2] ^= 1
	}
	return sig
}
