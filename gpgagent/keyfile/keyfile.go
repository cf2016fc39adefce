// Package keyfile keeps the list of remote keys that one GNUPGHOME knows. It is
// written when a key is set up and read by the bridge, so that listing keys and
// showing public keys needs no network. It holds nothing secret, but what it
// says decides which key signs: the file is 0600.
package keyfile

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"signkit/internal/keygrip"
)

// Name is the file's name in the GNUPGHOME.
const Name = "signkit-keys.json"

// maxSize bounds the file that is read: room for thousands of keys.
const maxSize = 8 << 20

// Entry is one key: what GnuPG must know of it and where it lies.
type Entry struct {
	Keygrip     string     `json:"keygrip"`     // 40 upper-case hex digits; unique in the file
	Public      []byte     `json:"public_key"`  // SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), DER
	Fingerprint string     `json:"fingerprint"` // OpenPGP v4 fingerprint, 40 upper-case hex digits
	Created     time.Time  `json:"created"`     // of the OpenPGP key; part of the fingerprint
	Expires     *time.Time `json:"expires,omitempty"`
	UserID      string     `json:"user_id"`
	SignPath    *SignPath  `json:"signpath,omitempty"` // exactly one of SignPath and PKCS11 is set
	PKCS11      *PKCS11    `json:"pkcs11,omitempty"`
}

// SignPath is a key of the signing service.
type SignPath struct {
	Project string `json:"project"`
	Policy  string `json:"policy"`
}

// PKCS11 is a key behind a PKCS#11 module.
type PKCS11 struct {
	Module  string `json:"module"`   // path of the module
	Token   string `json:"token"`    // label of the token
	Key     string `json:"key"`      // CKA_LABEL, or CKA_ID in hex; may be empty where there is but one key
	PINFile string `json:"pin_file"` // file that holds the PIN
}

// File is the whole list, in the order the keys were added.
type File struct {
	Keys []Entry `json:"keys"`
}

// ID names the source of the key for people: "project/policy" or
// "pkcs11:token/key".
func (e Entry) ID() string {
	switch {
	case e.SignPath != nil:
		return e.SignPath.Project + "/" + e.SignPath.Policy
	case e.PKCS11 != nil:
		return "pkcs11:" + e.PKCS11.Token + "/" + e.PKCS11.Key
	}
	return ""
}

// PublicKey decodes Public.
func (e Entry) PublicKey() (crypto.PublicKey, error) {
	pub, err := x509.ParsePKIXPublicKey(e.Public)
	if err != nil {
		return nil, fmt.Errorf("public key of %s: %w", e.ID(), err)
	}
	return pub, nil
}

// Load reads the file and checks every entry. When there is no file the error
// wraps fs.ErrNotExist.
func Load(path string) (*File, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key list: %w", err)
	}
	f := new(File)
	if err := json.Unmarshal(data, f); err != nil {
		return nil, fmt.Errorf("reading the key list %s: %w", path, err)
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("key list %s: %w", path, err)
	}
	return f, nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSize {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, maxSize)
	}
	return os.ReadFile(path)
}

func (f *File) check() error {
	owner := make(map[string]string, len(f.Keys))
	for i, e := range f.Keys {
		if err := e.check(); err != nil {
			return fmt.Errorf("key %d: %w", i+1, err)
		}
		if other, ok := owner[e.Keygrip]; ok {
			return fmt.Errorf("keygrip %s belongs to %s and to %s", e.Keygrip, other, e.ID())
		}
		owner[e.Keygrip] = e.ID()
	}
	return nil
}

func (e Entry) check() error {
	if (e.SignPath == nil) == (e.PKCS11 == nil) {
		return errors.New("needs exactly one of signpath and pkcs11")
	}
	if e.SignPath != nil && (e.SignPath.Project == "" || e.SignPath.Policy == "") {
		return errors.New("signpath needs project and policy")
	}
	if e.PKCS11 != nil && e.PKCS11.Module == "" {
		return errors.New("pkcs11 needs module, the path of the PKCS#11 module")
	}
	pub, err := e.PublicKey()
	if err != nil {
		return err
	}
	grip, err := keygrip.Of(pub)
	if err != nil {
		return fmt.Errorf("%s: %w", e.ID(), err)
	}
	if grip != e.Keygrip {
		return fmt.Errorf("%s: keygrip %q is not that of its public key, %s", e.ID(), e.Keygrip, grip)
	}
	return nil
}
