package token

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/key"
)

// The tests' organization and token. The token must never show in a record.
const (
	organization = "01234567-89ab-cdef-0123-456789abcdef"
	apiToken     = "c2VjcmV0LXRva2VuLW9mLXRoZS10ZXN0"
)

// fakeKey signs with a local key, where a real one asks the service.
type fakeKey struct {
	id      string
	private crypto.Signer
	leaf    *x509.Certificate
	issuers []*x509.Certificate

	mu     sync.Mutex
	signed int
	chains int
	fail   error
	wait   chan struct{} // not nil: SignContext waits for it or its context
	stale  bool
}

func (k *fakeKey) ID() string                     { return k.id }
func (k *fakeKey) Public() crypto.PublicKey       { return k.private.Public() }
func (k *fakeKey) Certificate() *x509.Certificate { return k.leaf }
func (k *fakeKey) Stale() bool                    { return k.stale }

func (k *fakeKey) Chain(context.Context) ([]*x509.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.chains++
	return k.issuers, nil
}

func (k *fakeKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), digest, opts)
}

func (k *fakeKey) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.mu.Lock()
	k.signed++
	wait, fail := k.wait, k.fail
	k.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	return k.private.Sign(rand.Reader, digest, opts)
}

// fakeSource counts what the service would be asked.
type fakeSource struct {
	keys []*fakeKey
	fail error

	mu    sync.Mutex
	asked []string
}

func (s *fakeSource) Keys(_ context.Context, project, policy string) ([]Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, project+"/"+policy)
	if s.fail != nil {
		return nil, s.fail
	}
	var list []Key
	for _, k := range s.keys {
		n, _ := parseName(k.id)
		if (key.ID{Project: project, Policy: policy}).Covers(n) {
			list = append(list, k)
		}
	}
	return list, nil
}

func (s *fakeSource) requests() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.asked, " ")
	s.asked = nil
	return all
}

var testKeys = sync.OnceValue(func() map[string]crypto.Signer {
	keys := map[string]crypto.Signer{}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	keys["rsa"] = r
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		keys[name] = k
	}
	return keys
})

// certify makes a certificate; without an issuer it signs itself.
func certify(t testing.TB, common string, public crypto.PublicKey, issuer *x509.Certificate, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(200), Subject: pkix.Name{CommonName: common}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(1700000000, 0), NotAfter: time.Unix(1900000000, 0), SubjectKeyId: []byte(common),
	}
	if issuer == nil {
		issuer = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bench is a token over fake keys: demo/rsa and demo/p256 with certificates,
// demo/p384, demo/p521 and demo/gpg without.
type bench struct {
	*Token
	source *fakeSource
	log    *bytes.Buffer
	root   *x509.Certificate

	mu     sync.Mutex
	events []event.Event
}

func (b *bench) key(id string) *fakeKey {
	for _, k := range b.source.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

func newBench(t testing.TB, environment ...string) *bench {
	t.Helper()
	// The first of two equal names counts.
	environment = append(environment, []string{"SIGNPATH_ORGANIZATION_ID=" + organization, "SIGNPATH_API_TOKEN=" + apiToken, "SIGNPATH_API_URL=https://signing.example/Api"}...)
	cfg, err := config.Load(environment, "/")
	b := &bench{source: &fakeSource{}, log: new(bytes.Buffer)}
	keys := testKeys()
	b.root = certify(t, "root", keys["p384"].Public(), nil, keys["p384"])
	for _, slug := range []string{"rsa", "p256"} {
		leaf := certify(t, slug, keys[slug].Public(), b.root, keys["p384"])
		b.source.keys = append(b.source.keys, &fakeKey{id: "demo/" + slug, private: keys[slug], leaf: leaf, issuers: []*x509.Certificate{b.root}})
	}
	for slug, private := range map[string]crypto.Signer{"p384": keys["p384"], "p521": keys["p521"], "gpg": keys["rsa"]} {
		b.source.keys = append(b.source.keys, &fakeKey{id: "demo/" + slug, private: private})
	}
	b.Token = New(Options{
		Record: func(e event.Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		},
		Config: cfg, ConfigError: err, Logger: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Connect: func(*config.Config) (Source, error) { return b.source, nil },
	})
	t.Cleanup(func() {
		if strings.Contains(b.log.String(), apiToken[:12]) {
			t.Error("the log shows the token")
		}
	})
	return b
}

// open returns a new session, logged in if a PIN is given.
func (b *bench) open(t testing.TB, pin string) *session {
	t.Helper()
	handle, err := b.openSession(slotID, ckfSerialSession)
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.session(handle)
	if err != nil {
		t.Fatal(err)
	}
	if pin != "" {
		if err := b.logIn(context.Background(), ckuUser, pin); err != nil {
			t.Fatal(err)
		}
	}
	return s
}
