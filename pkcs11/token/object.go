package token

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"

	"signkit/internal/key"
	"signkit/pkcs11/wire"
)

// Key is what the token needs of a remote key, which is an RSA key or one on a NIST curve. signpath.Key is one.
type Key interface {
	key.Signer
	// ID is "project/policy".
	ID() string
	// Certificate is the leaf, or nil.
	Certificate() *x509.Certificate
	// Chain returns the issuers' certificates.
	Chain(context.Context) ([]*x509.Certificate, error)
	// Stale reports that the service has another key by now.
	Stale() bool
}

// object is one token object: a private key, a public key or a certificate.
// It does not change after it was made.
type object struct {
	handle     uint64
	class      uint64
	private    bool
	key        Key // nil for the certificates of issuers
	attributes map[uint64][]byte
	// certificate is set for certificates.
	certificate *x509.Certificate
}

// Values in the encodings of the standard: CK_BBOOL is one byte, CK_ULONG eight.
var (
	yes = []byte{1}
	no  = []byte{0}
)

func number(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }

func appendNumbers(b []byte, numbers ...uint64) []byte { return wire.AppendUint64s(b, numbers...) }

// keyObjects makes the objects of one policy: private key, public key and the
// certificate, if there is one. All carry the policy's name as id and label.
func keyObjects(key Key, certificate *x509.Certificate) ([]*object, error) {
	public, err := publicAttributes(key.Public())
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", key.ID(), err)
	}
	name := []byte(key.ID())
	var subject []byte
	if certificate != nil {
		subject = certificate.RawSubject
	}
	shared := map[uint64][]byte{
		ckaToken: yes, ckaLabel: name, ckaID: name, ckaSubject: subject, ckaLocal: no, ckaDerive: no,
		ckaModifiable: no, ckaCopyable: no, ckaDestroyable: no, ckaStartDate: nil, ckaEndDate: nil,
		ckaAllowedMechanisms: allowedMechanisms(public),
	}
	list := []*object{privateObject(key, shared, public), publicObject(key, shared, public)}
	if certificate != nil {
		list = append(list, certificateObject(certificate, key, name, name))
	}
	return list, nil
}

func privateObject(key Key, shared, public map[uint64][]byte) *object {
	o := &object{class: ckoPrivateKey, private: true, key: key, attributes: map[uint64][]byte{
		ckaClass: number(ckoPrivateKey), ckaPrivate: yes,
		ckaSensitive: yes, ckaAlwaysSensitive: yes, ckaExtractable: no, ckaNeverExtractable: yes,
		ckaSign: yes, ckaSignRecover: no, ckaDecrypt: no, ckaUnwrap: no,
		ckaAlwaysAuthenticate: no, ckaWrapWithTrusted: no,
	}}
	o.add(shared)
	o.add(public)
	delete(o.attributes, ckaModulusBits) // an attribute of public keys only
	return o
}

func publicObject(key Key, shared, public map[uint64][]byte) *object {
	o := &object{class: ckoPublicKey, key: key, attributes: map[uint64][]byte{
		ckaClass: number(ckoPublicKey), ckaPrivate: no, ckaTrusted: no,
		ckaVerify: yes, ckaVerifyRecover: no, ckaEncrypt: no, ckaWrap: no,
	}}
	o.add(shared)
	o.add(public)
	return o
}

func (o *object) add(attributes map[uint64][]byte) {
	for typ, value := range attributes {
		o.attributes[typ] = value
	}
}

// Certificate categories (section 4.6.2).
const (
	categoryUser      = 1
	categoryAuthority = 2
)

func certificateObject(c *x509.Certificate, key Key, id, label []byte) *object {
	category := uint64(categoryUser)
	if key == nil {
		category = categoryAuthority
	}
	check := sha1.Sum(c.Raw) // CKA_CHECK_VALUE is defined with SHA-1 (section 4.6.3)
	return &object{class: ckoCertificate, key: key, certificate: c, attributes: map[uint64][]byte{
		ckaClass: number(ckoCertificate), ckaToken: yes, ckaPrivate: no, ckaLabel: label, ckaID: id,
		ckaCertificateType: number(ckcX509), ckaCertificateCategory: number(category), ckaTrusted: no,
		ckaValue: c.Raw, ckaSubject: c.RawSubject, ckaIssuer: c.RawIssuer, ckaSerialNumber: serialNumber(c.SerialNumber),
		ckaCheckValue: check[:3], ckaPublicKeyInfo: c.RawSubjectPublicKeyInfo,
		ckaModifiable: no, ckaCopyable: no, ckaDestroyable: no, ckaStartDate: nil, ckaEndDate: nil,
	}}
}

// issuerObject is a certificate of the chain. It must not answer to a policy's
// name, so its id is its key id and its label the common name.
func issuerObject(c *x509.Certificate) *object {
	id := c.SubjectKeyId
	if len(id) == 0 {
		sum := sha1.Sum(c.RawSubjectPublicKeyInfo)
		id = sum[:]
	}
	label := c.Subject.CommonName
	if label == "" {
		label = c.Subject.String()
	}
	return certificateObject(c, nil, id, []byte(label))
}

// serialNumber is the DER INTEGER (section 4.6.3).
func serialNumber(n *big.Int) []byte {
	der, err := asn1.Marshal(n)
	if err != nil {
		return nil
	}
	return der
}

// publicAttributes are the public parts of a key (mechanisms v2.40, sections
// 2.1.2 and 2.3.3). They are the same for the private key: CKA_EC_POINT there
// saves tools a search.
func publicAttributes(public crypto.PublicKey) (map[uint64][]byte, error) {
	info, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	attributes := map[uint64][]byte{ckaPublicKeyInfo: info}
	switch k := public.(type) {
	case *rsa.PublicKey:
		attributes[ckaKeyType] = number(ckkRSA)
		attributes[ckaModulus] = k.N.Bytes()
		attributes[ckaModulusBits] = number(uint64(k.N.BitLen()))
		attributes[ckaPublicExponent] = big.NewInt(int64(k.E)).Bytes()
	case *ecdsa.PublicKey:
		parameters, point, err := ecParameters(k)
		if err != nil {
			return nil, err
		}
		attributes[ckaKeyType] = number(ckkEC)
		attributes[ckaECParams] = parameters
		attributes[ckaECPoint] = point
	default:
		return nil, fmt.Errorf("unknown public key type %T", public)
	}
	return attributes, nil
}

// curveOID is nil for other curves (RFC 5480, section 2.1.1.1).
func curveOID(curve elliptic.Curve) asn1.ObjectIdentifier {
	switch curve {
	case elliptic.P256():
		return asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	case elliptic.P384():
		return asn1.ObjectIdentifier{1, 3, 132, 0, 34}
	case elliptic.P521():
		return asn1.ObjectIdentifier{1, 3, 132, 0, 35}
	}
	return nil
}

// ecParameters returns the curve's OID and the uncompressed point in a DER
// OCTET STRING.
func ecParameters(k *ecdsa.PublicKey) (parameters, point []byte, err error) {
	oid := curveOID(k.Curve)
	if oid == nil {
		return nil, nil, fmt.Errorf("unknown curve %s", k.Curve.Params().Name)
	}
	if parameters, err = asn1.Marshal(oid); err != nil {
		return nil, nil, fmt.Errorf("encoding the curve: %w", err)
	}
	raw, err := k.Bytes()
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the point: %w", err)
	}
	if point, err = asn1.Marshal(raw); err != nil {
		return nil, nil, fmt.Errorf("encoding the point: %w", err)
	}
	return parameters, point, nil
}

// allowedMechanisms lists those of the key's type.
func allowedMechanisms(public map[uint64][]byte) []byte {
	keyType := binary.NativeEndian.Uint64(public[ckaKeyType])
	var list []byte
	for _, m := range mechanisms {
		if m.keyType == keyType {
			list = appendNumbers(list, m.id)
		}
	}
	return list
}

// matches reports whether the object has every attribute with just that value.
func (o *object) matches(template []wire.Attribute) bool {
	for _, want := range template {
		have, known := o.attributes[want.Type]
		if !known || !bytes.Equal(have, want.Value) {
			return false
		}
	}
	return true
}

// secret reports an attribute that exists in the HSM only: CKA_PRIVATE_EXPONENT
// to CKA_COEFFICIENT, and the value of an EC key.
func (o *object) secret(typ uint64) bool {
	return o.class == ckoPrivateKey && (typ == ckaValue || typ >= ckaPrivateExponent && typ <= ckaCoefficient)
}

// values answers C_GetAttributeValue: every entry is processed, and the error
// names the worst that was met. What no reply can carry is refused as a whole.
func (o *object) values(types []uint64) ([]byte, error) {
	var out []byte
	var result error
	for _, typ := range types {
		if len(out)+8+len(o.attributes[typ]) > wire.MaxPayload {
			return nil, failf(ckrArgumentsBad, "the values of %d attributes are asked for in one call, more than %d bytes", len(types), wire.MaxPayload)
		}
		value, known := o.attributes[typ]
		switch {
		case known:
			out = wire.AppendValue(out, value)
			continue
		case o.secret(typ):
			result = ckrAttributeSensitive
		case result == nil:
			result = ckrAttributeTypeInvalid
		}
		out = wire.AppendUnavailable(out)
	}
	return out, result
}

// size is the sum of the values, in bytes.
func (o *object) size() uint64 {
	var n uint64
	for _, value := range o.attributes {
		n += uint64(len(value))
	}
	return n
}
