package mockapi

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"mime"
	"net/http"
	"sync"
	"time"
)

// timeStampAuthority answers RFC 3161 requests under a certificate of its own below the signing root.
type timeStampAuthority struct {
	state *stateDir
	ca    *authority

	mu   sync.Mutex
	cert *x509.Certificate
	key  crypto.Signer
}

var (
	oidTSTInfo        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidTimeStampUsage = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	oidExtKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidMockPolicy     = asn1.ObjectIdentifier{2, 999, 1} // 2.999 is the arc for examples
)

// imprintHashes are the digests the authority stamps.
var imprintHashes = []struct {
	oid  asn1.ObjectIdentifier
	hash crypto.Hash
}{
	{oidSHA256, crypto.SHA256},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA384},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, crypto.SHA512},
}

// load returns certificate and key, made when first asked for. ECDSA on P-256, valid for ten years.
func (t *timeStampAuthority) load() (*x509.Certificate, crypto.Signer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cert != nil {
		return t.cert, t.key, nil
	}
	key, err := t.state.key("tsa", keyECDSA, 256)
	if err != nil {
		return nil, nil, err
	}
	template, err := stampTemplate()
	if err != nil {
		return nil, nil, err
	}
	cert, err := t.state.certificate("tsa", template, t.ca.root(), key)
	if err != nil {
		return nil, nil, err
	}
	t.cert, t.key = cert, key
	return cert, key, nil
}

// stampTemplate has the critical extended key usage that RFC 3161, section 2.3, wants alone.
func stampTemplate() (*x509.Certificate, error) {
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{oidTimeStampUsage})
	if err != nil {
		return nil, err
	}
	now := time.Now().Add(-backdate)
	return &x509.Certificate{
		Subject: subject("Mock Time-Stamp Authority"), NotBefore: now, NotAfter: now.Add(10 * year),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtraExtensions: []pkix.Extension{{Id: oidExtKeyUsage, Critical: true, Value: usage}},
	}, nil
}

// timeStamp serves POST /tsa (RFC 3161, section 3.4). What is wrong with a
// request is said in the answer, with status 200, as the standard wants.
func (s *Server) timeStamp(c *call) error {
	if mediaType, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || mediaType != "application/timestamp-query" {
		return newProblem(http.StatusUnsupportedMediaType, "want application/timestamp-query")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		return bodyProblem(err)
	}
	answer, err := s.stamp(c, body)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/timestamp-reply")
	c.w.WriteHeader(http.StatusOK)
	c.w.Write(answer)
	return nil
}

// stamp turns a DER request into a DER response.
func (s *Server) stamp(c *call, request []byte) ([]byte, error) {
	q, failure := readStampRequest(request)
	if failure != noFailure {
		return rejection(failure)
	}
	cert, key, err := s.tsa.load()
	if err != nil {
		return nil, err
	}
	if key, err = c.signingKey(key, &certificate{Certificate: Certificate{KeyType: keyECDSA, KeySizeInBits: 256}}); err != nil {
		return nil, err
	}
	info, err := q.info(time.Now())
	if err != nil {
		return nil, err
	}
	token, err := signToken(info, cert, bool(q.CertReq), func(digest [sha256.Size]byte) ([]byte, error) {
		sig, err := key.Sign(nil, digest[:], crypto.SHA256)
		return c.spoilDER(sig), err
	})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(stampResponse{TimeStampToken: asn1.RawValue{FullBytes: token}})
}

// spoilDER is spoil for a DER ECDSA signature: the change is in the last byte
// of s, so that the SEQUENCE stays readable.
func (c *call) spoilDER(sig []byte) []byte {
	if c.fault != nil && c.fault.Kind == faultWrongSignature && len(sig) > 0 {
		sig[len(sig)-1] ^= 1
	}
	return sig
}
