package card

import (
	"crypto"
	"crypto/ecdsa"
	"slices"
	"strings"

	"signkit/gpgagent/assuan"
	"signkit/internal/key"
)

// hashes are those that gpg-agent can name and that are signed here.
var hashes = []crypto.Hash{crypto.SHA1, crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512}

// readDigestInfo takes data apart that is exactly a DigestInfo with one of the
// hashes. gpg-agent makes one of every digest, for ECDSA keys, too.
func readDigestInfo(data []byte) (hash crypto.Hash, digest []byte, err error) {
	hash, digest, ok := key.ParseDigestInfo(data)
	if !ok || !slices.Contains(hashes, hash) {
		return 0, nil, assuan.Errorf(assuan.InvalidData,
			"the %d octets of SETDATA are no DigestInfo with SHA-1, SHA-224, SHA-256, SHA-384 or SHA-512", len(data))
	}
	return hash, digest, nil
}

// checkName compares the data with what PKSIGN says it is.
func checkName(name string, hash crypto.Hash) error {
	if known, ok := key.FindHash(hash); ok && strings.EqualFold(known.Name, name) {
		return nil
	}
	return assuan.Errorf(assuan.DigestAlgorithm, "PKSIGN says --hash=%s, but SETDATA gave a digest of %s", name, hash)
}

// checkStrength refuses hashes that are shorter than gpg accepts from a key on a
// curve: such signatures are made without complaint, and then cannot be verified.
func checkStrength(public crypto.PublicKey, hash crypto.Hash) error {
	ec, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return nil
	}
	if least, _ := key.FindHash(key.CurveHash(ec)); hash.Size() < least.Size() {
		return assuan.Errorf(assuan.DigestAlgorithm, "%s is too short for a key on the curve %s: gpg could not verify the signature; "+
			"use gpg --digest-algo %s, or drop the option that chooses %s", hash, ec.Params().Name, strings.ToUpper(least.Name), hash)
	}
	return nil
}
