package pgpkey

import (
	"crypto/elliptic"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

func TestParseRefuses(t *testing.T) {
	signer := ecSigner(t, elliptic.P256())
	bare, err := publicKeyPacket(signer.Public(), created)
	if err != nil {
		t.Fatal(err)
	}
	var packets strings.Builder
	if err := bare.Serialize(&packets); err != nil {
		t.Fatal(err)
	}
	key, err := Create(t.Context(), signer, Options{Name: "Demo", Created: created})
	if err != nil {
		t.Fatal(err)
	}
	one, err := key.Binary()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"nothing": "", "text": "hello", "a cut armor": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA", "no user id": packets.String(),
		"half of a key": string(one[:len(one)/2]), "two keys": string(one) + string(one),
	} {
		if parsed, err := Parse([]byte(data)); err == nil {
			t.Errorf("%s: it is %s", name, parsed.Fingerprint())
		}
	}
}

func FuzzParse(f *testing.F) {
	key, err := Create(f.Context(), ecSigner(f, elliptic.P256()), Options{Name: "Demo", Created: created})
	if err != nil {
		f.Fatal(err)
	}
	binary, err := key.Binary()
	if err != nil {
		f.Fatal(err)
	}
	armored, err := key.Armor()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(binary)
	f.Add(armored)
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := Parse(data)
		if err != nil {
			return
		}
		if len(key.Fingerprint()) < 40 || key.UserID() == "" && len(key.ids) == 0 {
			t.Errorf("an incomplete key: %s %q", key.Fingerprint(), key.UserID())
		}
		if _, err := key.Armor(); err != nil {
			t.Errorf("it cannot be written: %v", err)
		}
	})
}

func entityOf(key *packet.PublicKey) *openpgp.Entity { return &openpgp.Entity{PrimaryKey: key} }

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	data, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
