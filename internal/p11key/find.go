package p11key

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// maxObjects bounds a search.
const maxObjects = 1000

// Find gives the key that Options.Key names: by label, else by its id in hexadecimal; with
// no name, the only private key there is.
func (m *Module) Find(ctx context.Context) (*Key, error) {
	return inSession(ctx, m, func(s *session) (*Key, error) {
		o, err := m.findObject(s)
		if err != nil {
			return nil, err
		}
		s.key = o.handle
		public, err := m.publicKey(s, o)
		if err != nil {
			return nil, fmt.Errorf("%s: key %s: %w", m.options.tokenName(), o, err)
		}
		return &Key{module: m, name: o.name(), public: public, confirm: isTrue(m.attribute(s, o.handle, pkcs11.CKA_ALWAYS_AUTHENTICATE))}, nil
	})
}

// object is a private key as its token describes it.
type object struct {
	handle pkcs11.ObjectHandle
	id     []byte
	label  string
}

func (o object) name() string {
	if o.label == "" {
		return hex.EncodeToString(o.id)
	}
	return o.label
}

func (o object) String() string {
	if string(o.id) == o.label {
		return fmt.Sprintf("%q", o.label)
	}
	return fmt.Sprintf("%q (id %x)", o.label, o.id)
}

// findObject searches by name, since a module that lists all its keys may be slow.
func (m *Module) findObject(s *session) (object, error) {
	name, advice := m.options.Key, "choose one by its id as key"
	var found []object
	var err error
	if name == "" {
		advice = "choose one by its label or id as key"
		found, err = m.privateKeys(s)
	} else {
		found, err = m.privateKeys(s, pkcs11.NewAttribute(pkcs11.CKA_LABEL, name))
		if id, notHex := hex.DecodeString(strings.ReplaceAll(name, ":", "")); err == nil && len(found) == 0 && notHex == nil {
			found, err = m.privateKeys(s, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
		}
	}
	switch {
	case err != nil:
		return object{}, err
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return object{}, fmt.Errorf("%s has %d private keys with that name; %s: %s", m.options.tokenName(), len(found), advice, list(found))
	}
	return object{}, m.noKey(s)
}

func (m *Module) noKey(s *session) error {
	all, err := m.privateKeys(s)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		return fmt.Errorf("%s has no private key %q; check the key's label or id: %s", m.options.tokenName(), m.options.Key, list(all))
	}
	hint := ""
	if m.options.PINFile == "" {
		hint = "; private keys may show only after login: name a PIN file"
	}
	return fmt.Errorf("%s shows no private key that can sign%s", m.options.tokenName(), hint)
}

func list(found []object) string {
	names := make([]string, 0, len(found))
	for _, o := range found {
		names = append(names, o.String())
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// privateKeys lists those RSA and EC keys that match and may sign.
func (m *Module) privateKeys(s *session, match ...*pkcs11.Attribute) ([]object, error) {
	handles, err := m.search(s, pkcs11.CKO_PRIVATE_KEY, match...)
	if err != nil {
		return nil, err
	}
	var found []object
	for _, h := range handles {
		kindFits := m.hasValue(s, h, pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA) || m.hasValue(s, h, pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC)
		if may := m.attribute(s, h, pkcs11.CKA_SIGN); kindFits && (len(may) == 0 || isTrue(may)) {
			found = append(found, object{h, m.attribute(s, h, pkcs11.CKA_ID), string(m.attribute(s, h, pkcs11.CKA_LABEL))})
		}
	}
	return found, nil
}

func (m *Module) search(s *session, class uint, match ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	c := m.library.ctx
	if err := c.FindObjectsInit(s.handle, append(match, pkcs11.NewAttribute(pkcs11.CKA_CLASS, class))); err != nil {
		return nil, fmt.Errorf("%s: C_FindObjectsInit: %w", m.options.tokenName(), err)
	}
	handles, _, err := c.FindObjects(s.handle, maxObjects)
	if end := c.FindObjectsFinal(s.handle); err == nil {
		err = end
	}
	if err != nil {
		return nil, fmt.Errorf("%s: C_FindObjects: %w", m.options.tokenName(), err)
	}
	return handles, nil
}

// attribute is nil for what the object does not have or not show. Each is asked for on its
// own: one that is not there would spoil the answer for the others.
func (m *Module) attribute(s *session, h pkcs11.ObjectHandle, kind uint) []byte {
	values, err := m.library.ctx.GetAttributeValue(s.handle, h, []*pkcs11.Attribute{pkcs11.NewAttribute(kind, nil)})
	if err != nil || len(values) != 1 {
		return nil
	}
	return values[0].Value
}

func (m *Module) hasValue(s *session, h pkcs11.ObjectHandle, kind, value uint) bool {
	return bytes.Equal(m.attribute(s, h, kind), pkcs11.NewAttribute(kind, value).Value)
}

func isTrue(value []byte) bool { return len(value) == 1 && value[0] != 0 }

// publicKey asks the public key object, then the private key itself, then a certificate.
func (m *Module) publicKey(s *session, o object) (crypto.PublicKey, error) {
	places := m.partners(s, o, pkcs11.CKO_PUBLIC_KEY)
	places = append(places, o.handle)
	places = append(places, m.partners(s, o, pkcs11.CKO_CERTIFICATE)...)
	var failed error
	for _, h := range places {
		public, err := m.publicAttributes(s, h).publicKey()
		if err == nil {
			return public, nil
		}
		if !errors.Is(err, errNoPublicKey) && failed == nil {
			failed = err
		}
	}
	if failed != nil {
		return nil, failed
	}
	return nil, fmt.Errorf("%w: write its public key object (with the same CKA_ID) to the token", errNoPublicKey)
}

// partners are the objects of a class with the key's id, or, for a key without one, with its label.
func (m *Module) partners(s *session, o object, class uint) []pkcs11.ObjectHandle {
	match := pkcs11.NewAttribute(pkcs11.CKA_ID, o.id)
	if len(o.id) == 0 {
		match = pkcs11.NewAttribute(pkcs11.CKA_LABEL, o.label)
	}
	handles, _ := m.search(s, class, match) // an error shows where nothing else has the public key
	return handles
}

func (m *Module) publicAttributes(s *session, h pkcs11.ObjectHandle) publicAttributes {
	a := publicAttributes{
		modulus: m.attribute(s, h, pkcs11.CKA_MODULUS), exponent: m.attribute(s, h, pkcs11.CKA_PUBLIC_EXPONENT),
		params: m.attribute(s, h, pkcs11.CKA_EC_PARAMS), point: m.attribute(s, h, pkcs11.CKA_EC_POINT),
		info: m.attribute(s, h, pkcs11.CKA_PUBLIC_KEY_INFO),
	}
	if m.hasValue(s, h, pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE) {
		a.certificate = m.attribute(s, h, pkcs11.CKA_VALUE)
	}
	return a
}
