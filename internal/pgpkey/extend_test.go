package pgpkey

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"signkit/internal/key"
)

// withDirectKey puts a direct-key signature with an end into a key, as Sequoia does.
func withDirectKey(t *testing.T, key *Key, signer key.Signer, until time.Time) []byte {
	t.Helper()
	public := key.entity.PrimaryKey
	seconds, err := lifetime(public, created, until)
	if err != nil {
		t.Fatal(err)
	}
	a := begin(public, created)
	a.addLifetime(seconds)
	a.add(subFlags|critical, flagCertify|flagSign)
	body, err := certify(t.Context(), signer, public, statement{kind: packet.SigTypeDirectSignature, area: a})
	if err != nil {
		t.Fatal(err)
	}
	packets := append([]*packet.OpaquePacket{key.packets[0], {Tag: tagSignature, Contents: body}}, key.packets[1:]...)
	made, err := read(packets)
	if err != nil {
		t.Fatal(err)
	}
	data, err := made.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestExtendRenewsADirectKeySignature: gpg takes the end from there first.
func TestExtendRenewsADirectKeySignature(t *testing.T) {
	signer := ecSigner(t, elliptic.P256())
	key, err := Create(t.Context(), signer, Options{Name: "Demo", Created: created, Now: created})
	if err != nil {
		t.Fatal(err)
	}
	ended := created.Add(time.Hour)
	data := withDirectKey(t, key, signer, ended)
	before, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if pub := gpgImport(t, before); !before.Expires().Equal(ended) || pub.expires != ended.Unix() {
		t.Errorf("before: %s here, %d in gpg, want %s", before.Expires(), pub.expires, ended)
	}
	for _, later := range []time.Time{time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC), {}} {
		extended, err := Extend(t.Context(), signer, data, later, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		want := later.Unix()
		if later.IsZero() {
			want = 0
		}
		if pub := gpgImport(t, extended); !extended.Expires().Equal(later) || pub.expires != want {
			t.Errorf("%s here, %d in gpg, want %s", extended.Expires(), pub.expires, later)
		}
	}
}

func TestExtendRefusesWhatCannotBeExtended(t *testing.T) {
	signer := ecSigner(t, elliptic.P256())
	key, err := Create(t.Context(), signer, Options{Name: "Demo", Created: created})
	if err != nil {
		t.Fatal(err)
	}
	data, err := key.Binary()
	if err != nil {
		t.Fatal(err)
	}
	revoked := func(kind packet.SignatureType, after int) []byte {
		t.Helper()
		body := revocation(t, key, signer, kind)
		packets := append([]*packet.OpaquePacket{}, key.packets[:after]...)
		packets = append(append(packets, &packet.OpaquePacket{Tag: tagSignature, Contents: body}), key.packets[after:]...)
		made, err := read(packets)
		if err != nil {
			t.Fatal(err)
		}
		data, err := made.Binary()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		signer softSigner
		data   []byte
		until  time.Time
		want   string
	}{
		"another key":        {ecSigner(t, elliptic.P256()), data, time.Time{}, ErrOtherKey.Error()},
		"a weak key":         {softSigner{weak}, data, time.Time{}, "too short"},
		"no key":             {signer, []byte("hello"), time.Time{}, "reading the OpenPGP public key"},
		"an end in the past": {signer, data, created.Add(time.Hour), "not after"},
		"a revoked key":      {signer, revoked(packet.SigTypeKeyRevocation, 1), time.Time{}, "has been revoked"},
		"a revoked user id":  {signer, revoked(packet.SigTypeCertificationRevocation, 3), time.Time{}, "every user id of the OpenPGP key has been revoked"},
	} {
		if got, err := Extend(t.Context(), c.signer, c.data, c.until, time.Time{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v %v, want %q", name, got, err, c.want)
		}
	}
}

// revocation makes a revocation of the key or its user id with the library.
func revocation(t *testing.T, key *Key, signer softSigner, kind packet.SignatureType) []byte {
	t.Helper()
	now := time.Now().Add(time.Minute)
	signature := &packet.Signature{Version: 4, SigType: kind, PubKeyAlgo: key.entity.PrimaryKey.PubKeyAlgo, Hash: crypto.SHA256,
		CreationTime: now, IssuerKeyId: &key.entity.PrimaryKey.KeyId, IssuerFingerprint: key.entity.PrimaryKey.Fingerprint}
	private := &packet.PrivateKey{PublicKey: *key.entity.PrimaryKey, PrivateKey: signer.Signer}
	config := &packet.Config{Time: func() time.Time { return now }}
	var err error
	if kind == packet.SigTypeKeyRevocation {
		err = signature.RevokeKey(key.entity.PrimaryKey, private, config)
	} else {
		err = signature.SignUserId(key.UserID(), key.entity.PrimaryKey, private, config)
	}
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := signature.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	p, err := packet.NewOpaqueReader(strings.NewReader(b.String())).Next()
	if err != nil {
		t.Fatal(err)
	}
	return p.Contents
}

// lying signs something else.
type lying struct{ softSigner }

func (l lying) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	other := append([]byte{}, digest...)
	other[0] ^= 1
	return l.softSigner.SignContext(ctx, other, opts)
}

func TestAWrongSignatureMakesNoKey(t *testing.T) {
	for name, signer := range map[string]softSigner{"RSA": rsaSigner(t, 2048), "ECDSA": ecSigner(t, elliptic.P521())} {
		if key, err := Create(t.Context(), lying{signer}, Options{Name: "a", Created: created}); err == nil {
			t.Errorf("%s: %s", name, key.Fingerprint())
		}
	}
}

// TestHashesAreSHA256OrBetter, and as long as the curve is.
func TestHashesAreSHA256OrBetter(t *testing.T) {
	for want, signer := range map[crypto.Hash]softSigner{
		crypto.SHA256: ecSigner(t, elliptic.P256()), crypto.SHA384: ecSigner(t, elliptic.P384()), crypto.SHA512: ecSigner(t, elliptic.P521())} {
		if got := selfSignatureHash(signer.Public()); got != want {
			t.Errorf("%v for %s", got, signer.Public().(*ecdsa.PublicKey).Params().Name)
		}
	}
	if got := selfSignatureHash(rsaSigner(t, 2048).Public()); got != crypto.SHA512 {
		t.Errorf("%v for RSA", got)
	}
}

// TestKnownKeys reads keys that other programs have made.
func TestKnownKeys(t *testing.T) {
	made := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	for file, want := range map[string]struct {
		fingerprint, userID string
		created, expires    time.Time
	}{
		"gpg-rsa3072.asc":  {"212B12026E875263B004BB62948BBA87982B350A", "Release Team (test) <release@example.org>", made, time.Unix(2019729600, 0)},
		"gpg-nistp256.asc": {"3C017AE2DCFA9965A3C60CF6495E34F96F3C29E1", "Curve nistp256 <c@example.org>", made, time.Time{}},
		"gpg-nistp521.asc": {"4BB71EE19C194293B29CF4AA63A0B4CE824BCF6D", "Curve nistp521 <c@example.org>", made, time.Time{}},
	} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		key, err := Parse(data)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if key.Fingerprint() != want.fingerprint || key.UserID() != want.userID || !key.Created().Equal(want.created) || !key.Expires().Equal(want.expires) {
			t.Errorf("%s: %s %q %s %s", file, key.Fingerprint(), key.UserID(), key.Created(), key.Expires())
		}
	}
}

// TestSigningFindsASubkey, and says when it was made.
func TestSigningFindsASubkey(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "gpg-rsa3072.asc"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for want, holder := range map[string]*packet.PublicKey{
		"212B12026E875263B004BB62948BBA87982B350A": key.entity.PrimaryKey,
		"87FA54CACC6352BB9D10874B4DD1A5719DC26DF2": key.entity.Subkeys[0].PublicKey,
	} {
		got, at, err := key.Signing(holder.PublicKey)
		if err != nil || got != want || !at.Equal(holder.CreationTime) {
			t.Errorf("%s at %s, %v; want %s", got, at, err, want)
		}
	}
	if got, _, err := key.Signing(rsaSigner(t, 2048).Public()); err == nil {
		t.Errorf("another key is found as %s", got)
	}
}
