package p11key

import (
	"bytes"
	"context"
	"crypto"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// maxObjects bounds a search.
const maxObjects = 1000

// Keys lists the token's RSA and ECDSA private keys that can sign. Keys without a readable
// public key are left out; the error names them when nothing else is there.
func (m *Module) Keys(ctx context.Context) ([]*Key, error) {
	return inSession(ctx, m, func(s *session) ([]*Key, error) {
		found, err := m.privateKeys(s, nil)
		if err != nil {
			return nil, err
		}
		var keys []*Key
		var unreadable []error
		for _, o := range found {
			key, err := m.newKey(s, o)
			if err != nil {
				unreadable = append(unreadable, err)
				continue
			}
			keys = append(keys, key)
		}
		if len(keys) == 0 {
			return nil, errors.Join(unreadable...)
		}
		return keys, nil
	})
}

// Find gives the key that Options.Key names: by label, else by its id in hexadecimal; with
// no name, the only private key there is.
func (m *Module) Find(ctx context.Context) (*Key, error) {
	return inSession(ctx, m, func(s *session) (*Key, error) {
		o, err := m.findObject(s)
		if err != nil {
			return nil, err
		}
		return m.newKey(s, o)
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
	name := m.options.Key
	if name == "" {
		found, err := m.privateKeys(s, nil)
		if err != nil {
			return object{}, err
		}
		return m.only(s, found, "choose one by its label or id as key")
	}
	found, err := m.privateKeys(s, pkcs11.NewAttribute(pkcs11.CKA_LABEL, name))
	if id, isHex := parseID(name); err == nil && len(found) == 0 && isHex {
		found, err = m.privateKeys(s, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	if err != nil {
		return object{}, err
	}
	return m.only(s, found, "choose one by its id as key")
}

// parseID reads hexadecimal, with colons or without.
func parseID(name string) ([]byte, bool) {
	id, err := hex.DecodeString(strings.ReplaceAll(name, ":", ""))
	return id, err == nil && len(id) > 0
}

func (m *Module) only(s *session, found []object, advice string) (object, error) {
	if len(found) == 1 {
		return found[0], nil
	}
	if len(found) > 1 {
		return object{}, fmt.Errorf("%s has %d private keys with that name; %s: %s", m.options.tokenName(), len(found), advice, list(found))
	}
	all, err := m.privateKeys(s, nil)
	if err != nil {
		return object{}, err
	}
	if len(all) == 0 {
		hint := ""
		if m.options.PINFile == "" {
			hint = "; private keys may show only after login: name a PIN file"
		}
		return object{}, fmt.Errorf("%s shows no private key that can sign%s", m.options.tokenName(), hint)
	}
	return object{}, fmt.Errorf("%s has no private key %q; check the key's label or id: %s", m.options.tokenName(), m.options.Key, list(all))
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
func (m *Module) privateKeys(s *session, match *pkcs11.Attribute) ([]object, error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY)}
	if match != nil {
		template = append(template, match)
	}
	handles, err := m.search(s, template)
	if err != nil {
		return nil, err
	}
	var found []object
	for _, h := range handles {
		if kind := number(m.attribute(s, h, pkcs11.CKA_KEY_TYPE)); kind != pkcs11.CKK_RSA && kind != pkcs11.CKK_EC {
			continue
		}
		if may := m.attribute(s, h, pkcs11.CKA_SIGN); len(may) > 0 && !isTrue(may) {
			continue
		}
		found = append(found, object{h, m.attribute(s, h, pkcs11.CKA_ID), string(m.attribute(s, h, pkcs11.CKA_LABEL))})
	}
	return found, nil
}

func (m *Module) search(s *session, template []*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	c := m.library.ctx
	if err := c.FindObjectsInit(s.handle, template); err != nil {
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

// number reads a CK_ULONG of this machine.
func number(value []byte) uint64 {
	switch len(value) {
	case 8:
		return binary.NativeEndian.Uint64(value)
	case 4:
		return uint64(binary.NativeEndian.Uint32(value))
	}
	return ^uint64(0)
}

func isTrue(value []byte) bool { return len(value) == 1 && value[0] != 0 }

func (m *Module) newKey(s *session, o object) (*Key, error) {
	public, err := m.publicKey(s, o)
	if err != nil {
		return nil, fmt.Errorf("%s: key %s: %w", m.options.tokenName(), o, err)
	}
	return &Key{module: m, id: o.id, label: o.label, name: o.name(), public: public, confirm: isTrue(m.attribute(s, o.handle, pkcs11.CKA_ALWAYS_AUTHENTICATE))}, nil
}

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
	handles, err := m.search(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), match})
	if err != nil {
		return nil
	}
	return handles
}

func (m *Module) publicAttributes(s *session, h pkcs11.ObjectHandle) publicAttributes {
	a := publicAttributes{
		modulus: m.attribute(s, h, pkcs11.CKA_MODULUS), exponent: m.attribute(s, h, pkcs11.CKA_PUBLIC_EXPONENT),
		params: m.attribute(s, h, pkcs11.CKA_EC_PARAMS), point: m.attribute(s, h, pkcs11.CKA_EC_POINT),
		info: m.attribute(s, h, pkcs11.CKA_PUBLIC_KEY_INFO),
	}
	if number(m.attribute(s, h, pkcs11.CKA_CLASS)) == pkcs11.CKO_CERTIFICATE {
		a.certificate = m.attribute(s, h, pkcs11.CKA_VALUE)
	}
	return a
}

// handleOf finds a key again, in a session that may not know its earlier handle.
func (m *Module) handleOf(s *session, k *Key) (pkcs11.ObjectHandle, error) {
	match := pkcs11.NewAttribute(pkcs11.CKA_ID, k.id)
	if len(k.id) == 0 {
		match = pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.label)
	}
	found, err := m.privateKeys(s, match)
	if err != nil {
		return 0, err
	}
	for _, o := range found {
		if bytes.Equal(o.id, k.id) && o.label == k.label {
			return o.handle, nil
		}
	}
	return 0, fmt.Errorf("%s has no private key %q any more", m.options.tokenName(), k.name)
}
