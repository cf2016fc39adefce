package card

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"signkit/gpgagent/keyfile"
	"signkit/internal/sexp"
)

// cardKey is an entry of the key list with what the commands show of it.
type cardKey struct {
	keyfile.Entry
	public    crypto.PublicKey
	canonical []byte // S-expression of the public key
	algorithm string // GnuPG's name: rsa3072, nistp256
}

// keyref is the name of the key on the card, and what ends up in references to
// it. Being the keygrip it stays the same when other keys come and go, and every
// version of gpg-agent then asks for the key by its keygrip.
func (k *cardKey) keyref() string { return k.Keygrip }

// list is the key list as it is on disk now: keys can be added while the bridge
// runs.
type list struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	read os.FileInfo // of the file that was read; nil: none
	keys []*cardKey
	err  error
}

// get returns the keys, in the order they were added. With an error there are
// none, and nobody knows which there should be.
func (l *list) get() ([]*cardKey, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Looked at before it is read: if it changes in between, it is read again next time.
	info, err := os.Stat(l.path)
	if err == nil && l.read != nil && unchanged(l.read, info) {
		return l.keys, l.err
	}
	keys, err := load(l.path)
	if err != nil && (l.err == nil || l.err.Error() != err.Error()) {
		l.log.Error("the key list cannot be used; every signature will fail until it is set up again (signkit gpg init)",
			"error", err)
	}
	if err == nil {
		l.log.Info("key list read", "keys", len(keys))
	}
	l.read, l.keys, l.err = info, keys, err
	return keys, err
}

func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func load(path string) ([]*cardKey, error) {
	file, err := keyfile.Load(path)
	if err != nil {
		return nil, err
	}
	keys := make([]*cardKey, len(file.Keys))
	for i, entry := range file.Keys {
		if keys[i], err = newKey(entry); err != nil {
			return nil, fmt.Errorf("key list %s: %s: %w", path, entry.ID(), err)
		}
	}
	return keys, nil
}

func newKey(entry keyfile.Entry) (*cardKey, error) {
	public, err := entry.PublicKey()
	if err != nil {
		return nil, err
	}
	canonical, err := sexp.PublicKey(public)
	if err != nil {
		return nil, err
	}
	return &cardKey{entry, public, canonical, algorithm(public)}, nil
}

func algorithm(public crypto.PublicKey) string {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa%d", public.N.BitLen())
	case *ecdsa.PublicKey:
		return fmt.Sprintf("nistp%d", public.Params().BitSize)
	}
	return "-"
}

// find looks a key up by its keygrip or, for people who talk to the card
// themselves, by its fingerprint.
func find(keys []*cardKey, id string) *cardKey {
	for _, k := range keys {
		if strings.EqualFold(id, k.Keygrip) || id != "" && strings.EqualFold(id, k.Fingerprint) {
			return k
		}
	}
	return nil
}
