package signpath

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"signkit/internal/key"
)

// signBound ends a Sign that has no context: more than all retries can take by default.
const signBound = 20 * time.Minute

// Key is the private key of one signing policy. Its signatures are made by the service, and
// verified here before they are returned. It is safe for concurrent use.
type Key struct {
	client      *Client
	project     string
	policy      string
	policyID    string
	public      crypto.PublicKey
	certificate *x509.Certificate
	gpg         bool
	document    json.RawMessage // as the service told of it; nil where it was not asked
	stale       atomic.Bool
	chain       shared[[]*x509.Certificate]
}

var _ key.Signer = (*Key)(nil)

// ID is "project/policy": the name people and tools use for the key.
func (k *Key) ID() string { return key.ID{Project: k.project, Policy: k.policy}.String() }

// ProjectSlug is the first half of ID.
func (k *Key) ProjectSlug() string { return k.project }

// PolicySlug is the second half of ID.
func (k *Key) PolicySlug() string { return k.policy }

// PolicyID is the service's own id (a UUID) of the signing policy; may be empty.
func (k *Key) PolicyID() string { return k.policyID }

// Public is an *rsa.PublicKey, or an *ecdsa.PublicKey on P-256, P-384 or P-521.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Certificate is the policy's X.509 certificate, whose key is Public. It is nil for GPG keys.
func (k *Key) Certificate() *x509.Certificate { return k.certificate }

// IsGPG reports whether the key has an OpenPGP public key (see Client.GPGPublicKey) and no
// X.509 certificate.
func (k *Key) IsGPG() bool { return k.gpg }

// Stale reports that the service has rejected the policy, or signed with another key, since
// the key was read: read the policy again before the next signature. Once true it stays so.
func (k *Key) Stale() bool { return k.stale.Load() }

// Sign is SignContext with a bound of 20 minutes; rand is not used.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), signBound)
	defer cancel()
	return k.SignContext(ctx, digest, opts)
}

// SignContext lets the service sign a digest (the bare hash, no DigestInfo). It is one
// request, or more where retries or an older service need them. opts choose the kind:
//
//   - RSA and a crypto.Hash: PKCS#1 v1.5 (RFC 8017, section 8.2) with MD5, SHA-1, SHA-256,
//     SHA-384 or SHA-512;
//   - RSA and *rsa.PSSOptions: PSS (RFC 8017, section 8.1) with one of the SHA hashes, a salt
//     as long as the digest and MGF1 with the same hash; nothing else can be asked for;
//   - ECDSA and a crypto.Hash (0: any length): ASN.1 DER (RFC 3279, section 2.2.3);
//   - ECDSA and ECDSAOptions: the same, or r and s as one string of fixed size (IEEE P1363).
//
// An ECDSA digest is taken as FIPS 186-5, section 6.4.1 says, whatever its length. Errors:
// ErrUnsupported and ErrDigestLength before any request; *Error when a request failed;
// ErrWrongSignature when the answer does not verify.
func (k *Key) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signed, err := k.Submit(ctx, digest, opts)
	if err != nil {
		return nil, err
	}
	return signed.Signature, nil
}

// Signed is a signature with what the service said of it.
type Signed struct {
	Signature []byte
	Algorithm string // for people
	RequestID string // of the signing request; may be empty
	WebLink   string // its page; may be empty
}

// Submit is SignContext for those who keep a record.
func (k *Key) Submit(ctx context.Context, digest []byte, opts crypto.SignerOpts) (*Signed, error) {
	began := k.client.now()
	signed, err := k.sign(ctx, digest, opts)
	if err != nil {
		err = fmt.Errorf("signing with %s: %w", k.client.clean(k.ID(), 200), err)
	}
	return signed, k.recorded(ctx, digest, began, signed, err)
}

func (k *Key) sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) (*Signed, error) {
	r, err := plan(k.public, digest, opts)
	if err != nil {
		return nil, err
	}
	r.asking = k.client.asking(ctx)
	result, err := k.client.signHash(ctx, k, r)
	if err != nil {
		return nil, k.explain(err)
	}
	signature, err := r.accept(k.public, result)
	if err != nil {
		return nil, k.explain(fmt.Errorf("%w%s", err, k.client.requestNote(result)))
	}
	signed := &Signed{Signature: signature, Algorithm: r.String(),
		RequestID: k.client.clean(result.id, 100), WebLink: k.client.clean(result.webLink, 300)}
	k.client.log.Info("signed", "policy", k.client.clean(k.ID(), 200), "algorithm", signed.Algorithm,
		"signingRequestId", signed.RequestID, "webLink", signed.WebLink)
	return signed, nil
}

// explain marks the key as stale where the error says that the policy is another one now.
func (k *Key) explain(err error) error {
	e, ok := asError(err)
	if errors.Is(err, ErrWrongSignature) {
		k.stale.Store(true)
		return fmt.Errorf("%w; the policy's certificate may have changed since it was read", err)
	}
	if ok && e.namesPolicy() {
		k.stale.Store(true)
		return fmt.Errorf("%w; the policy or its certificate may have changed since it was read", err)
	}
	return err
}

func (c *Client) requestNote(r *signResult) string {
	if r.id == "" {
		return ""
	}
	return " (signing request " + c.clean(r.id, 100) + ")"
}
