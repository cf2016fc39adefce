package pgpkey

import (
	"crypto/elliptic"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
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
	armored, err := key.Armor()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"too much": strings.Repeat(string(one), maxKey/len(one)+1), "two armored keys": string(armored) + string(armored), "a message": "-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----\n",
		"nothing": "", "text": "hello", "a web page": "<html>", "no base64": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n%%%\n-----END PGP PUBLIC KEY BLOCK-----\n",
		"a private key": "\x95\x01\x02", "a cut armor": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA", "no user id": packets.String(),
		"half of a key": string(one[:len(one)/2]), "two keys": string(one) + string(one),
	} {
		if parsed, err := Parse([]byte(data)); err == nil {
			t.Errorf("%s: it is %s", name, parsed.Fingerprint())
		}
	}
}

// TestParseTakesEveryForm in which services and mail hand keys over.
func TestParseTakesEveryForm(t *testing.T) {
	key, err := Create(t.Context(), ecSigner(t, elliptic.P256()), Options{Name: "Demo", Created: created})
	if err != nil {
		t.Fatal(err)
	}
	one, err := key.Binary()
	if err != nil {
		t.Fatal(err)
	}
	armor, err := key.Armor()
	if err != nil {
		t.Fatal(err)
	}
	armored := string(armor)
	begin, body, _ := strings.Cut(armored, "\n")
	sum := armored[strings.LastIndex(armored, "\n=")+1:][:6]
	for name, data := range map[string]string{
		"binary": string(one), "armored": armored, "without a checksum": strings.Replace(armored, sum, "", 1),
		"with headers": begin + "\nVersion: GnuPG v2\nComment: = and more\n" + body,
		"CR LF":        strings.ReplaceAll(armored, "\n", "\r\n"), "text around it": "A key:\n\n" + armored + "\nend\n",
	} {
		if parsed, err := Parse([]byte(data)); err != nil || parsed.Fingerprint() != key.Fingerprint() {
			t.Errorf("%s: %v", name, err)
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
	files, err := filepath.Glob("testdata/*.asc")
	if err != nil || len(files) == 0 {
		f.Fatalf("no keys in testdata: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := Parse(data)
		if err != nil {
			return
		}
		if len(key.Fingerprint()) < 40 || key.UserID() == "" && len(key.ids) == 0 {
			t.Errorf("an incomplete key: %s %q", key.Fingerprint(), key.UserID())
		}
		written, err := key.Armor()
		if err != nil {
			t.Fatalf("it cannot be written: %v", err)
		}
		again, err := Parse(written)
		if err != nil || again.Fingerprint() != key.Fingerprint() || again.UserID() != key.UserID() || !again.Expires().Equal(key.Expires()) {
			t.Errorf("what was written reads as another key: %v", err)
		}
	})
}

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
