package card

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"strings"

	"signkit/gpgagent/assuan"
)

// hashes are those that gpg-agent can name and that are signed here. The prefix
// is the DER of a DigestInfo up to the digest (RFC 8017, section 9.2, note 1);
// gpg-agent puts it in front of every digest, for ECDSA keys, too.
var hashes = []struct {
	name   string
	hash   crypto.Hash
	prefix string
}{
	{"sha1", crypto.SHA1, "\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14"},
	{"sha224", crypto.SHA224, "\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x04\x05\x00\x04\x1c"},
	{"sha256", crypto.SHA256, "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"},
	{"sha384", crypto.SHA384, "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"},
	{"sha512", crypto.SHA512, "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"},
}

// readDigestInfo takes data apart that is exactly a DigestInfo with one of the
// hashes.
func readDigestInfo(data []byte) (hash crypto.Hash, digest []byte, err error) {
	for _, h := range hashes {
		digest, ok := bytes.CutPrefix(data, []byte(h.prefix))
		if ok && len(digest) == h.hash.Size() {
			return h.hash, digest, nil
		}
	}
	return 0, nil, assuan.Errorf(assuan.InvalidData,
		"the %d octets of SETDATA are no DigestInfo with SHA-1, SHA-224, SHA-256, SHA-384 or SHA-512", len(data))
}

// checkName compares the data with what PKSIGN says it is.
func checkName(name string, hash crypto.Hash) error {
	for _, h := range hashes {
		if strings.EqualFold(h.name, name) && h.hash == hash {
			return nil
		}
	}
	return assuan.Errorf(assuan.DigestAlgorithm, "PKSIGN says --hash=%s, but SETDATA gave a digest of %s", name, hash)
}

// needed is the shortest hash that gpg accepts from a key on a curve: signatures
// over shorter ones are made without complaint, and then cannot be verified.
var needed = map[string]struct {
	hash crypto.Hash
	name string
}{
	"P-256": {crypto.SHA256, "SHA256"}, "P-384": {crypto.SHA384, "SHA384"}, "P-521": {crypto.SHA512, "SHA512"},
}

func checkStrength(public crypto.PublicKey, hash crypto.Hash) error {
	ec, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return nil
	}
	curve := ec.Params().Name
	if least := needed[curve]; hash.Size() < least.hash.Size() {
		return assuan.Errorf(assuan.DigestAlgorithm, "%s is too short for a key on the curve %s: gpg could not verify the signature; "+
			"use gpg --digest-algo %s, or drop the option that chooses %s", hash, curve, least.name, hash)
	}
	return nil
}
