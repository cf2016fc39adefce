package p11key

import (
	"context"
	"crypto"
	"fmt"
	"io"
	"time"

	"github.com/miekg/pkcs11"

	"signkit/internal/key"
)

// signBound ends a Sign that has no context.
const signBound = 5 * time.Minute

// Key is a private key on a token. Its signatures are verified before they are returned. It
// is safe for concurrent use, and of no use after its Module's Close.
type Key struct {
	module  *Module
	name    string
	public  crypto.PublicKey
	confirm bool // CKA_ALWAYS_AUTHENTICATE
}

var _ key.Signer = (*Key)(nil)

// ID is "pkcs11:TOKEN/KEY", with the key's label, or else its id in hexadecimal.
func (k *Key) ID() string { return "pkcs11:" + k.module.options.Token + "/" + k.name }

// Name is the key's label or, where it has none, its id in hexadecimal.
func (k *Key) Name() string { return k.name }

// Public is an *rsa.PublicKey, or an *ecdsa.PublicKey on P-256, P-384 or P-521.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Sign is SignContext with a bound of 5 minutes; rand is not used.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), signBound)
	defer cancel()
	return k.SignContext(ctx, digest, opts)
}

// SignContext lets the module sign a digest (the bare hash, no DigestInfo). opts choose the kind:
//
//   - RSA and a crypto.Hash: PKCS#1 v1.5 (CKM_RSA_PKCS) with MD5, SHA-1 or a hash of SHA-2;
//   - RSA and *rsa.PSSOptions: PSS (CKM_RSA_PKCS_PSS), MGF1 with the same hash;
//   - ECDSA and a crypto.Hash (0: any length): CKM_ECDSA, as ASN.1 DER;
//   - ECDSA and key.ECDSAOptions: the same, or as r and s of fixed size.
//
// A session that the token has lost is opened again, once. When the context ends first, the
// error is ErrTimeout, and the call goes on in the module.
func (k *Key) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	p, err := newPlan(k.public, digest, opts)
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", k.ID(), err)
	}
	made, err := inSession(ctx, k.module, func(s *session) ([]byte, error) { return k.sign(s, p) })
	if err == nil {
		if made = p.accept(made); made == nil {
			err = fmt.Errorf("%w (%s)", ErrWrongSignature, p.name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", k.ID(), err)
	}
	return made, nil
}

// sign is one signature in one session. Any error leaves the session unfit for others.
func (k *Key) sign(s *session, p *plan) ([]byte, error) {
	l := k.module.library
	if s.key == 0 {
		o, err := k.module.findObject(s)
		if err != nil {
			return nil, err
		}
		s.key = o.handle
	}
	if err := l.ctx.SignInit(s.handle, []*pkcs11.Mechanism{p.mechanism}, s.key); err != nil {
		return nil, fmt.Errorf("C_SignInit, %s: %w%s", p.name, err, signHint(err))
	}
	if k.confirm {
		l.setup.Lock()
		err := k.module.logIn(s, pkcs11.CKU_CONTEXT_SPECIFIC)
		l.setup.Unlock()
		if err != nil {
			return nil, err
		}
	}
	made, err := l.ctx.Sign(s.handle, p.input)
	if err != nil {
		return nil, fmt.Errorf("C_Sign, %s: %w%s", p.name, err, signHint(err))
	}
	return made, nil
}

func signHint(err error) string {
	if isCode(err, pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_MECHANISM_PARAM_INVALID) {
		return "; the token does not do this with this key"
	}
	return ""
}
