package notation

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"

	"signkit/internal/config"
	"signkit/internal/key"
	"signkit/internal/logging"
	"signkit/internal/process"
	"signkit/internal/signpath"
)

// keySpec is a kind of key, with the one algorithm that the contract has for it.
type keySpec struct {
	name, hashName, algorithm string
	hash                      crypto.Hash
}

// specOf finds the kind by the size of the modulus or of the curve (signature-specification.md,
// "Signature Algorithm Requirements").
func specOf(public crypto.PublicKey) (keySpec, error) {
	pss := func(bits int, hash crypto.Hash) keySpec {
		return keySpec{fmt.Sprintf("RSA-%d", bits), hash.String(), "RSASSA-PSS-" + hash.String(), hash}
	}
	ec := func(bits int, hash crypto.Hash) keySpec {
		return keySpec{fmt.Sprintf("EC-%d", bits), hash.String(), "ECDSA-" + hash.String(), hash}
	}
	specs := map[string]keySpec{
		"RSA 2048": pss(2048, crypto.SHA256), "RSA 3072": pss(3072, crypto.SHA384), "RSA 4096": pss(4096, crypto.SHA512),
		"EC 256": ec(256, crypto.SHA256), "EC 384": ec(384, crypto.SHA384), "EC 521": ec(521, crypto.SHA512),
	}
	kind := fmt.Sprintf("%T", public)
	switch k := public.(type) {
	case *rsa.PublicKey:
		kind = fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		kind = fmt.Sprintf("EC %d", k.Curve.Params().BitSize)
	}
	spec, known := specs[kind]
	if !known {
		return keySpec{}, invalid("Notary Project has no signatures with keys of the kind %s, only RSA of 2048, 3072 and 4096 bits "+
			"and EC on P-256, P-384 and P-521", kind)
	}
	return spec, nil
}

// session is one command's connection to the service, with the key that it is about.
type session struct {
	process *process.Process
	client  *signpath.Client
	key     *signpath.Key
	spec    keySpec
}

func (s *session) close() {
	if s.client != nil {
		s.client.Close()
	}
	s.process.Close()
}

// open reads the settings and looks the key up.
func (p *Plugin) open(ctx context.Context, q *request) (*session, error) {
	id, err := key.ParseID(q.KeyID)
	if err != nil {
		return nil, invalid("key id %q: a key is named PROJECT/POLICY", q.KeyID)
	}
	environ, err := withConfig(p.Environ, q.PluginConfig)
	if err != nil {
		return nil, err
	}
	s := new(session)
	if err := s.connect(environ, p.Directory, p.Parent); err != nil {
		s.close()
		return nil, invalid("settings: %v", err)
	}
	if err := s.find(ctx, signpath.Filter{ProjectSlug: id.Project, SigningPolicySlug: id.Policy}); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// connect makes log and client. The console gets nothing: stderr belongs to the contract. A log that cannot be
// written stops no signature.
func (s *session) connect(environ []string, directory string, parent int) (err error) {
	s.process, err, _ = process.Start(process.Options{Environ: environ, Directory: directory, Caller: parent, Log: newLogger})
	if err == nil {
		err = s.process.Config.CheckCredentials()
	}
	if err == nil {
		s.client, err = s.process.Client(s.process.Config, nil)
	}
	return err
}

func newLogger(cfg *config.Config, redactor *logging.Redactor) (*slog.Logger, io.Closer, error) {
	return logging.New(logging.Options{
		FileLevel: cfg.Log.FileLevel, FileDirectory: cfg.Log.FileDirectory, Interface: "Notation", Redactor: redactor,
	})
}

func (s *session) find(ctx context.Context, name signpath.Filter) error {
	id := name.ProjectSlug + "/" + name.SigningPolicySlug
	keys, err := s.client.Policies(ctx, name)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if key.ID() == id {
			s.key = key
		}
	}
	if s.key == nil {
		return &failure{codeAccessDenied, "there is no signing policy " + id + " that the token's user may submit to; " +
			"check both slugs and the policy's submitters"}
	}
	if s.key.Certificate() == nil {
		return invalid("%s has no X.509 certificate, which Notary Project signatures need", id)
	}
	s.spec, err = specOf(s.key.Public())
	return err
}

// fullChain returns the certificates from the leaf to the root, which all must be there.
func (s *session) fullChain(ctx context.Context) ([][]byte, error) {
	issuers, err := s.key.Chain(ctx)
	if err != nil {
		return nil, err
	}
	last := s.key.Certificate()
	chain := [][]byte{last.Raw}
	for _, issuer := range issuers {
		chain = append(chain, issuer.Raw)
		last = issuer
	}
	if !isRoot(last) {
		return nil, invalid("the chain of %s is incomplete: the certificate of %q, which issued %q, is missing; the service does not "+
			"tell it: name a PEM file with it in SIGNKIT_CERTIFICATE_CHAIN_FILE", s.key.ID(), last.Issuer, last.Subject)
	}
	return chain, nil
}

func isRoot(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// sign hashes the payload here. ECDSA signatures are r and s as one string, as JWS and COSE have them.
func (s *session) sign(ctx context.Context, payload []byte) ([]byte, error) {
	h := s.spec.hash.New()
	h.Write(payload)
	var opts crypto.SignerOpts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.spec.hash}
	if _, ec := s.key.Public().(*ecdsa.PublicKey); ec {
		opts = key.ECDSAOptions{Hash: s.spec.hash, Format: key.P1363}
	}
	return s.key.SignContext(ctx, h.Sum(nil), opts)
}

// kindCodes are the contract's codes of failures of a key; others are codeOther.
var kindCodes = map[key.Kind]string{
	key.Forbidden:    codeAccessDenied,
	key.NoSuchPolicy: codeValidation,
	key.BadRequest:   codeValidation,
	key.Unsupported:  codeOther,
	key.DigestLength: codeOther,
	key.Throttled:    codeThrottled,
	key.NotDone:      codeTimeout,
	key.NoAnswer:     codeTimeout,
}

// codeOf is the contract's code of an error of the service's client.
func codeOf(err error) string { return cmp.Or(key.Lookup(kindCodes, key.KindOf(err)), codeOther) }
