package card

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"reflect"
	"sync"
	"time"

	"signkit/gpgagent/assuan"
	"signkit/gpgagent/keyfile"
	"signkit/internal/event"
	"signkit/internal/key"
)

// maxData bounds what SETDATA may collect; a DigestInfo has at most 83 octets.
const maxData = 4096

// expirySoon is how long before its end a key is worth a warning at every signing.
const expirySoon = 30 * 24 * time.Hour

func (s *Session) setData(_ context.Context, c *assuan.Call) error {
	data, err := hex.DecodeString(c.Word(0))
	if err != nil || len(data) == 0 || len(c.Words) > 1 {
		return assuan.Parameter
	}
	if _, more := c.Option("append"); more {
		data = append(s.data, data...)
	}
	if len(data) > maxData {
		return assuan.TooMuchData
	}
	s.data = data
	return nil
}

// pkSign is the one command that leaves this machine. gpg-agent passes on the
// code of an error and nothing else: the log has to say what happened.
func (s *Session) pkSign(ctx context.Context, c *assuan.Call) error {
	start := time.Now()
	job, err := s.job(c)
	var signature []byte
	if err == nil {
		signature, err = s.card.sign(ctx, job)
	}
	took := time.Since(start).Round(time.Millisecond)
	if err != nil {
		code := codeOf(err)
		s.card.log.Error("not signed", "key", job.name(), "hash", job.hashName(), "error", err, "gpgShows", code.Error(), "took", took)
		s.card.recordFailure(job, start, code, err)
		return &assuan.Error{Code: code, Err: err}
	}
	s.card.log.Info("signature given to gpg-agent", "key", job.name(), "hash", job.hashName(), "took", took)
	s.card.warnExpiry(job.key)
	c.Data(signature)
	return nil
}

func (c *Card) recordFailure(j job, began time.Time, code assuan.Code, err error) {
	if c.record == nil || event.IsTold(err) {
		return
	}
	e := event.Begin(j.name(), j.digest, began)
	e.Seconds = time.Since(began).Seconds()
	e.Fail(err)
	switch {
	case e.Kind != key.Other:
	case code == assuan.Configuration:
		e.Kind = key.Settings
	case code == assuan.NoSecretKey:
		e.Kind = key.NoSuchPolicy
	}
	c.record(e)
}

// warnExpiry records that the key's self-signature ends soon. gpg refuses a key that has expired.
func (c *Card) warnExpiry(k *cardKey) {
	if k.Expires != nil && time.Until(*k.Expires) <= expirySoon {
		c.log.Warn("the GPG key ends soon; make it last with: signkit gpg extend "+k.ID()+" --expires DATE",
			"key", k.ID(), "end", k.Expires.UTC().Format(time.DateOnly))
	}
}

// job is one signature to be made, checked as far as that can be done here.
type job struct {
	id     string   // as asked for
	key    *cardKey // nil until it is found
	hash   crypto.Hash
	digest []byte
}

func (j job) name() string {
	if j.key == nil {
		return j.id
	}
	return j.key.ID()
}

func (j job) hashName() string {
	if j.hash == 0 {
		return "unknown"
	}
	return j.hash.String()
}

// job also returns what is known of a job that cannot be done.
func (s *Session) job(c *assuan.Call) (job, error) {
	j := job{id: c.Word(0)}
	if j.id == "" {
		return j, assuan.Errorf(assuan.Parameter, "PKSIGN names no key")
	}
	keys, err := s.card.list.get()
	if err != nil {
		return j, &assuan.Error{Code: assuan.Configuration, Err: err}
	}
	if j.key = find(keys, j.id); j.key == nil {
		return j, assuan.Errorf(assuan.NoSecretKey, "no key with keygrip %q among the %d of %s; signkit gpg init adds keys",
			j.id, len(keys), s.card.list.path)
	}
	if len(s.data) == 0 {
		return j, assuan.Errorf(assuan.NoData, "PKSIGN without SETDATA before it")
	}
	if j.hash, j.digest, err = readDigestInfo(s.data); err != nil {
		return j, err
	}
	if name, named := c.Option("hash"); named {
		if err := checkName(name, j.hash); err != nil {
			return j, err
		}
	}
	return j, checkStrength(j.key.public, j.hash)
}

// sign returns the signature as a card gives it, verified.
func (c *Card) sign(ctx context.Context, j job) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.bound)
	defer cancel()
	signer, err := c.signer(ctx, j.key.Entry)
	if err != nil {
		return nil, err
	}
	signature, err := signer.SignContext(ctx, j.digest, j.hash)
	if err != nil {
		return nil, err
	}
	switch public := j.key.public.(type) {
	case *rsa.PublicKey:
		if err := rsa.VerifyPKCS1v15(public, j.hash, j.digest, signature); err != nil {
			return nil, wrongSignature(j)
		}
		return signature, nil // as long as the modulus, or it would not have verified
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(public, j.digest, signature) {
			return nil, wrongSignature(j)
		}
		return key.ToP1363(signature, key.OrderSize(public))
	}
	return nil, fmt.Errorf("key of type %T", j.key.public)
}

func wrongSignature(j job) error {
	return assuan.Errorf(assuan.BadSignature,
		"the answer does not verify with the public key in this GNUPGHOME; if the key of %s has changed, "+
			"set it up again (signkit gpg init)", j.key.ID())
}

// opened is the signer of one key. Opening one may load a library, so it keeps
// other keys from nothing.
type opened struct {
	entry keyfile.Entry

	mu     sync.Mutex
	signer key.Signer
}

func (c *Card) signer(ctx context.Context, entry keyfile.Entry) (key.Signer, error) {
	o := c.opened(entry)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.signer != nil {
		return o.signer, nil
	}
	signer, err := c.open(ctx, entry)
	if err != nil {
		return nil, openError(err)
	}
	o.signer = signer
	return signer, nil
}

func (c *Card) opened(entry keyfile.Entry) *opened {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.signers[entry.Keygrip]
	if o == nil || !reflect.DeepEqual(o.entry, entry) {
		o = &opened{entry: entry}
		c.signers[entry.Keygrip] = o
	}
	return o
}
