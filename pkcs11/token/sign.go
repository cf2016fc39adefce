package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"hash"
	"slices"

	"signkit/internal/key"
)

// maxECDSAData bounds what CKM_ECDSA takes, in bytes: no digest is longer.
const maxECDSAData = 128

// operation is a sign operation from C_SignInit to its end (section 5.11). It
// belongs to one data socket: only messages of that socket, in their order,
// reach it.
type operation struct {
	session   *session
	socket    any // identity of the data socket
	ring      *keyring
	key       Key
	mechanism *mechanism
	digest    crypto.Hash // of the digest that is signed; 0: only the data tells
	hasher    hash.Hash   // nil: the caller gives a digest
	sequence  uint64      // number of the next update
	total     uint64      // bytes hashed

	ctx    context.Context
	cancel context.CancelCauseFunc
}

// signInit is C_SignInit. It returns the operation; its signature length comes
// from the key, so that asking for it never signs.
func (t *Token) signInit(ctx context.Context, s *session, socket any, mechanismID uint64, parameter []byte, handle uint64) (*operation, error) {
	m, err := findMechanism(mechanismID)
	if err != nil {
		return nil, err
	}
	digest, err := m.checkParameter(parameter)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	ring := t.login
	t.mu.Unlock()
	key, err := signingKey(ring, handle, m)
	if err != nil {
		return nil, err
	}
	o := &operation{session: s, socket: socket, ring: ring, key: key, mechanism: m, digest: digest}
	if m.hash != 0 {
		o.hasher = m.hash.New()
	}
	o.ctx, o.cancel = context.WithCancelCause(ctx)
	if err := s.begin(o); err != nil {
		o.cancel(nil)
		return nil, err
	}
	t.warnExpiry(key)
	return o, nil
}

func signingKey(ring *keyring, handle uint64, m *mechanism) (Key, error) {
	if ring == nil {
		return nil, ckrUserNotLoggedIn
	}
	o := ring.object(handle)
	switch {
	case o == nil || o.class == ckoCertificate:
		return nil, ckrKeyHandleInvalid
	case o.class == ckoPublicKey:
		return nil, ckrKeyFunctionNotPermitted
	case !slices.Equal(o.attributes[ckaKeyType], number(m.keyType)):
		return nil, failf(ckrKeyTypeInconsistent, "%s does not fit key %s", m, o.key.ID())
	}
	return o.key, nil
}

func (s *session) begin(o *operation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ckrSessionHandleInvalid
	}
	if s.operation != nil {
		return ckrOperationActive
	}
	s.operation = o
	return nil
}

// current is the operation of the session, if it belongs to the socket.
func (s *session) current(socket any) (*operation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.operation == nil || s.operation.socket != socket {
		return nil, ckrOperationNotInitialized
	}
	return s.operation, nil
}

// end takes an operation off its session, once.
func (o *operation) end() {
	o.session.mu.Lock()
	defer o.session.mu.Unlock()
	if o.session.operation == o {
		o.session.operation = nil
	}
	o.cancel(nil)
}

// endOperation ends the session's operation from outside; a signature in
// flight then fails with cause. Closing is final.
func (s *session) endOperation(cause Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = s.closed || cause == ckrSessionClosed
	if s.operation != nil {
		s.operation.cancel(cause)
		s.operation = nil
	}
}

// expectUpdate checks the number of an update before its data is read.
func (o *operation) expectUpdate(sequence uint64) error {
	if o.hasher == nil {
		return ckrFunctionNotSupported
	}
	if sequence != o.sequence {
		return failf(ckrDeviceError, "update %d arrived instead of %d: nothing was signed", sequence, o.sequence)
	}
	o.sequence++
	return nil
}

// update hashes one piece of data.
func (o *operation) update(piece []byte) {
	_, _ = o.hasher.Write(piece) // never fails (package hash)
	o.total += uint64(len(piece))
}

// final signs what was hashed, if the module sent just as much.
func (t *Token) final(o *operation, total uint64) ([]byte, error) {
	if o.hasher == nil {
		return nil, ckrFunctionNotSupported
	}
	if total != o.total {
		return nil, failf(ckrDeviceError, "%d bytes were sent to be signed and %d arrived: nothing was signed", total, o.total)
	}
	return t.sign(o, o.hasher.Sum(nil), o.options())
}

// signData is C_Sign: data is what the mechanism takes.
func (t *Token) signData(o *operation, data []byte) ([]byte, error) {
	if o.hasher != nil {
		if o.sequence != 0 {
			return nil, ckrOperationNotInitialized // a multi-part operation ends with C_SignFinal
		}
		o.update(data)
		return t.sign(o, o.hasher.Sum(nil), o.options())
	}
	digest, err := o.readDigest(data)
	if err != nil {
		return nil, err
	}
	return t.sign(o, digest, o.options())
}

// readDigest finds the digest in the data of a mechanism that does not hash.
func (o *operation) readDigest(data []byte) ([]byte, error) {
	switch {
	case o.mechanism.pss:
		if len(data) != o.digest.Size() {
			return nil, failf(ckrDataLenRange, "%s with %v needs a digest of %d bytes, not %d", o.mechanism, o.digest, o.digest.Size(), len(data))
		}
		return data, nil
	case o.mechanism.keyType == ckkEC:
		if len(data) == 0 || len(data) > maxECDSAData {
			return nil, failf(ckrDataLenRange, "CKM_ECDSA needs a digest, not %d bytes; use CKM_ECDSA_SHA256 to have the data hashed", len(data))
		}
		return data, nil
	}
	// PKCS#1 v1.5 needs 11 bytes besides the data (PKCS #11 v2.40 mechanisms, section 2.1.6, table 7).
	if public, ok := o.key.Public().(*rsa.PublicKey); ok && len(data) > public.Size()-11 {
		return nil, failf(ckrDataLenRange, "CKM_RSA_PKCS takes %d bytes with this key, not %d; use CKM_SHA256_RSA_PKCS to have the data hashed", public.Size()-11, len(data))
	}
	// A bare digest is no DigestInfo: the service must be told the hash.
	found, digest, ok := key.ParseDigestInfo(data)
	if !ok || !slices.Contains(serviceHashes, found) {
		return nil, failf(ckrDataInvalid, "CKM_RSA_PKCS needs a DigestInfo of SHA-1, SHA-256, SHA-384 or SHA-512, but was given %d other bytes; use CKM_SHA256_RSA_PKCS to have the data hashed", len(data))
	}
	o.digest = found
	return digest, nil
}

// options say how to sign, in the terms of crypto.Signer.
func (o *operation) options() crypto.SignerOpts {
	if o.mechanism.pss {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: o.digest}
	}
	return o.digest
}

// sign asks the key, and gives the signature the form of the standard.
func (t *Token) sign(o *operation, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := o.key.SignContext(o.ctx, digest, opts)
	if err != nil {
		if cause := Error(0); errors.As(context.Cause(o.ctx), &cause) {
			return nil, cause
		}
		if o.key.Stale() || key.KindOf(err) == key.BadAnswer {
			o.ring.drop(o.key)
		}
		return nil, keyFailure(err)
	}
	if public, ok := o.key.Public().(*ecdsa.PublicKey); ok {
		return fixedSize(signature, key.OrderSize(public))
	}
	return signature, nil
}

// signatureLength is in bytes: the modulus, or r and s of the order's size.
func signatureLength(public crypto.PublicKey) uint64 {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return uint64(k.Size())
	case *ecdsa.PublicKey:
		return 2 * uint64(key.OrderSize(k))
	}
	return 0
}

// fixedSize turns a DER signature into r and s as one string of fixed size
// (mechanisms v2.40, section 2.3.1).
func fixedSize(der []byte, size int) ([]byte, error) {
	out, err := key.ToP1363(der, size)
	if err != nil {
		return nil, failf(ckrDeviceError, "reading the ECDSA signature: %w", err)
	}
	return out, nil
}
