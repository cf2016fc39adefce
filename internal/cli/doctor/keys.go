package doctor

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"time"

	"signkit/internal/key"
	"signkit/internal/pgpkey"
	"signkit/internal/signpath"
)

// keyQuality compares keys with what verifiers accept, and looks at their ends.
func (e *examination) keyQuality(ctx context.Context) {
	for _, key := range e.keys {
		e.strength(key.ID(), key.Public(), key.IsGPG())
		e.expiry(ctx, key)
	}
}

// strength knows the limits of apt, rpm and Java (see docs: GPG, "Which key").
func (e *examination) strength(id string, public crypto.PublicKey, gpg bool) {
	const area = "keys"
	switch public := public.(type) {
	case *rsa.PublicKey:
		bits := public.N.BitLen()
		text := fmt.Sprintf("RSA %d", bits)
		switch {
		case bits < 2048:
			e.problem(area, id, text+": rpm from 4.20 on, apt of Debian 13 and RHEL refuse it", "give the signing policy a key of 3072 bits or more")
		case bits < 3072 && gpg:
			e.warn(area, id, text+": apt accepts this size until 2030-02-01", "choose 3072 bits or more for a new key")
		default:
			e.ok(area, id, text)
		}
	case *ecdsa.PublicKey:
		text := public.Curve.Params().Name
		if gpg {
			e.warn(area, id, text+": rpm without Sequoia (Debian 11 and 12, Ubuntu to 24.04, RHEL 8 and 9) cannot check it", "for rpm packages choose an RSA key")
			return
		}
		e.ok(area, id, text)
	default:
		e.warn(area, id, fmt.Sprintf("a key of type %T", public), "choose RSA or a NIST curve")
	}
}

func (e *examination) expiry(ctx context.Context, key *signpath.Key) {
	const area = "keys"
	if certificate := key.Certificate(); certificate != nil {
		e.ends(key.ID()+" certificate", certificate.NotBefore, certificate.NotAfter, "renew the certificate in the signing service")
		e.chain(ctx, key)
	}
	if !key.IsGPG() {
		return
	}
	data, err := e.Client.GPGPublicKey(ctx, key.ProjectSlug(), key.PolicySlug())
	if err != nil {
		e.problem(area, key.ID()+" public key", cause(err), hint(err, "gpg cannot use this key; make a public key with: signkit gpg create "+key.ID()))
		return
	}
	e.gpgPublicKey(key.ID(), key.Public(), data)
}

// gpgPublicKey looks at the transferable public key that the service has for a key pair.
func (e *examination) gpgPublicKey(id string, public crypto.PublicKey, data []byte) {
	const area = "keys"
	key, err := pgpkey.Parse(data)
	if err == nil {
		_, _, err = key.Signing(public)
	}
	if err != nil {
		e.problem(area, id+" public key", err.Error(), "make a new one with: signkit gpg create "+id)
		return
	}
	if key.IsWeak() {
		e.problem(area, id+" public key", fmt.Sprintf("its self-signature is made with %s: apt of Debian 13, rpm from 4.20 on and RHEL from 9 on refuse it", key.Hash()),
			"signkit gpg extend "+id)
	}
	e.ends(id+" GPG key", key.Created(), key.Expires(), "signkit gpg extend "+id+" --expires DATE")
}

func (e *examination) ends(subject string, from, until time.Time, fix string) {
	const area = "keys"
	now := time.Now()
	switch {
	case now.Before(from):
		e.problem(area, subject, "valid from "+from.UTC().Format(time.RFC3339)+" on", "check this machine's clock")
	case until.IsZero():
		e.ok(area, subject, "never expires")
	case now.After(until):
		e.problem(area, subject, "expired on "+day(until), fix)
	case until.Sub(now) < expirySoon:
		e.warn(area, subject, fmt.Sprintf("expires on %s, in %d days", day(until), int(until.Sub(now).Hours()/24)), fix)
	default:
		e.ok(area, subject, "until "+day(until))
	}
}

// chain: without issuers a jar or an exe verifies only where they are known already.
func (e *examination) chain(ctx context.Context, key *signpath.Key) {
	const area = "keys"
	leaf := key.Certificate()
	issuers, err := key.Chain(ctx)
	switch {
	case string(leaf.RawSubject) == string(leaf.RawIssuer):
		e.ok(area, key.ID()+" chain", "self-signed")
	case err != nil:
		e.warn(area, key.ID()+" chain", cause(err), "put the issuers' certificates into SIGNKIT_CERTIFICATE_CHAIN_FILE")
	case len(issuers) == 0:
		e.warn(area, key.ID()+" chain", "the issuer "+leaf.Issuer.CommonName+" is missing", "put it into SIGNKIT_CERTIFICATE_CHAIN_FILE")
	default:
		e.ok(area, key.ID()+" chain", fmt.Sprintf("%d issuers, up to %s", len(issuers), issuers[len(issuers)-1].Subject.CommonName))
	}
}

// testSignatures shows what only signing shows: approvals, and projects that are not for hashes.
func (e *examination) testSignatures(ctx context.Context) {
	const area = "keys"
	if !e.Sign {
		return
	}
	for _, key := range e.keys {
		digest, hash := testDigest(key.Public())
		if _, err := key.SignContext(ctx, digest, hash); err != nil {
			e.problem(area, key.ID()+" signature", cause(err), hint(err,
				"the project needs a default artifact configuration of type hash signing data, and the policy no approval"))
			continue
		}
		e.ok(area, key.ID()+" signature", "made and verified")
	}
}

// testDigest is a hash that fits the key: services may refuse one shorter than the curve.
func testDigest(public crypto.PublicKey) ([]byte, crypto.Hash) {
	hash := crypto.SHA256
	if ec, ok := public.(*ecdsa.PublicKey); ok {
		hash = key.CurveHash(ec)
	}
	h := hash.New()
	h.Write([]byte("signkit doctor --sign"))
	return h.Sum(nil), hash
}
