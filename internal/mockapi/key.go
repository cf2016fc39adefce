package mockapi

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"sync"
	"time"
)

// Values of the API's keyType and certificateType.
const (
	keyRSA   = "Rsa"
	keyECDSA = "Ecdsa"
	typeX509 = "X509"
	typeGPG  = "Gpg"
)

// certificate is one key of an organization with its public half. Making an
// RSA key takes seconds, so that happens when the key is first asked for.
type certificate struct {
	Certificate
	id    string // UUID
	name  string // of its files: ORGANIZATION.SLUG
	state *stateDir
	ca    *authority

	mu       sync.Mutex
	material *material
}

// material is what is known of a certificate once its key exists.
type material struct {
	key     crypto.Signer
	chain   []*x509.Certificate // leaf first, root last; nil for a GPG key
	openPGP []byte              // binary transferable public key; nil for X.509
}

// load returns the key, from the state folder or freshly made. Callers that
// need the same key wait for one another.
func (c *certificate) load() (*material, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.material != nil {
		return c.material, nil
	}
	key, err := c.state.key(c.name, c.KeyType, c.KeySizeInBits)
	if err != nil {
		return nil, err
	}
	m := &material{key: key}
	if c.Type == typeGPG {
		m.openPGP, err = c.transferableKey(key)
	} else {
		m.chain, err = c.ca.leafChain(c.name, c.commonName(), key)
	}
	if err != nil {
		return nil, err
	}
	c.material = m
	return m, nil
}

func (c *certificate) commonName() string {
	if c.CommonName != "" {
		return c.CommonName
	}
	return "Mock signing key " + c.Slug
}

// key reads keys/NAME.pem (PKCS#8), or makes that file. A key of another kind
// than asked for, left by an earlier configuration, is replaced.
func (s *stateDir) key(name, keyType string, bits int) (crypto.Signer, error) {
	file := "keys/" + name + ".pem"
	data, err := s.read(file)
	if err != nil {
		return nil, err
	}
	if data != nil {
		key, err := parseKey(data)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", s.file(file), err)
		}
		if isKind(key, keyType, bits) {
			return key, nil
		}
	}
	key, err := newKey(keyType, bits)
	if err != nil {
		return nil, fmt.Errorf("making the key %s: %w", name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making the key %s: %w", name, err)
	}
	return key, s.write(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("it holds no PEM block")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return signer, nil
}

func isKind(key crypto.Signer, keyType string, bits int) bool {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return keyType == keyRSA && k.N.BitLen() == bits
	case *ecdsa.PrivateKey:
		return keyType == keyECDSA && k.Curve.Params().BitSize == bits
	}
	return false
}

func newKey(keyType string, bits int) (crypto.Signer, error) {
	if keyType == keyRSA {
		return rsa.GenerateKey(rand.Reader, bits)
	}
	switch bits {
	case 256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case 384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case 521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	}
	return nil, fmt.Errorf("no %s key has %d bits", keyType, bits)
}

// backdate is how far in the past certificates begin, for clocks that are late.
const backdate = time.Hour
