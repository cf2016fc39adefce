package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"signkit/internal/pgpkey"
)

// OpenPGP is a key that gpg can sign with.
type OpenPGP struct {
	Home        string // GNUPGHOME
	Fingerprint string // 40 hex digits
	PublicKey   string // path of the transferable public key, armored
}

// environment of tools that call gpg.
func (s *Signer) gpgEnvironment() []string {
	return append(slices.Clone(s.Environ), "GNUPGHOME="+s.OpenPGP.Home, "LC_ALL=C.UTF-8")
}

// gpg makes one signature file.
func (s *Signer) gpg(ctx context.Context, file, dir, name string, command ...string) ([]Output, error) {
	path := filepath.Join(dir, name)
	args := append([]string{"--batch", "--no-tty", "--yes", "--local-user", s.OpenPGP.Fingerprint, "--output", path}, command...)
	if _, err := run(ctx, s.gpgEnvironment(), "", "gpg", append(args, "--", file)...); err != nil {
		return nil, err
	}
	return []Output{{path, name}}, nil
}

// lastKeys are the keys of the file that was read last. A batch reads the same one for each of its files, and to check
// the signatures within takes as long as to check one of a file.
var lastKeys struct {
	sync.Mutex
	data []byte
	keys []*pgpkey.Key
}

// readKeys reads a file of OpenPGP keys, armored or binary. Nobody may change them.
func readKeys(path string) ([]*pgpkey.Key, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lastKeys.Lock()
	defer lastKeys.Unlock()
	if bytes.Equal(data, lastKeys.data) {
		return lastKeys.keys, nil
	}
	keys, err := pgpkey.ParseAll(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	lastKeys.data, lastKeys.keys = data, keys
	return keys, nil
}

// keys are those of PublicKey whose signatures count: neither revoked nor expired. Tools look
// at that or not, each in its way, so none of them gets to see another key. Where no key is
// left, the error says why.
func (v *Verifier) keys() ([]*pgpkey.Key, error) {
	all, err := readKeys(v.PublicKey)
	if err != nil {
		return nil, err
	}
	var current []*pgpkey.Key
	var ended error
	for _, key := range all {
		valid, err := key.At(time.Now(), v.AllowExpired)
		if err != nil {
			ended = errors.Join(ended, err)
			continue
		}
		current = append(current, valid)
	}
	if len(current) == 0 {
		return nil, ended
	}
	return current, nil
}

// endedSubkey reports whether a signature is of a subkey that keys has left out.
func (v *Verifier) endedSubkey(s openPGPSignature) bool {
	all, err := readKeys(v.PublicKey)
	return err == nil && s.IssuerKeyId != nil && slices.ContainsFunc(all, func(key *pgpkey.Key) bool {
		return slices.Contains(key.KeyIDs(), fmt.Sprintf("%016X", *s.IssuerKeyId))
	})
}

// keyring writes the keys as gpgv reads them.
func (v verification) keyring(keys []*pgpkey.Key) (string, error) {
	var ring []byte
	for _, key := range keys {
		data, err := key.Binary()
		if err != nil {
			return "", err
		}
		ring = append(ring, data...)
	}
	path := v.path("keyring.gpg")
	return path, os.WriteFile(path, ring, 0o600)
}

// openPGPSigners are whom signatures claim to be of, by fingerprints, or key ids of old ones.
// Nothing is verified.
func openPGPSigners(signatures io.Reader) []signer {
	var found []signer
	for reader := packet.NewOpaqueReader(signatures); ; {
		raw, err := reader.Next()
		if errors.Is(err, io.EOF) && len(found) > 0 {
			return found
		}
		if err != nil {
			return append(found, unknownSigner)
		}
		understood, err := raw.Parse()
		if signature, ok := understood.(*packet.Signature); ok && err == nil {
			found = append(found, openPGPSignature{Signature: signature}.signer())
		} else {
			found = append(found, unknownSigner)
		}
	}
}

// unknownSigner stands for whatever cannot be read: it may be of anybody, and nobody may lose it for that.
var unknownSigner = signer{name: "an unknown key"}

// keySigner is the owner of a key, named by hex digits in upper case.
func keySigner(id string) signer { return signer{name: "the key " + id, keyID: id} }

// fileSigners are those of a file with a signature.
func fileSigners(path string) ([]signer, error) {
	data, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	return openPGPFileSigners(data), nil
}

// clearSigned takes a text that is one clear-signed message and nothing else.
func clearSigned(data []byte) (*clearsign.Block, error) {
	if !bytes.HasPrefix(data, []byte("-----BEGIN PGP SIGNED MESSAGE-----\n")) {
		return nil, errors.New("does not begin with a clear-signed message")
	}
	// Readers drop some of them at the ends of lines, or end a line or a text there.
	if i := bytes.IndexFunc(data, isControl); i >= 0 {
		return nil, fmt.Errorf("has the control character %#02x", data[i])
	}
	block, rest := clearsign.Decode(data)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("is more than one clear-signed message, or a damaged one")
	}
	return block, nil
}

// isControl knows what no text needs.
func isControl(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }
