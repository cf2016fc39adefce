package signpath

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

// armored wraps data as gpg --export --armor does; sum "" leaves the checksum out.
func armored(data []byte, headers, sum string) string {
	text := base64.StdEncoding.EncodeToString(data)
	var lines strings.Builder
	for len(text) > 64 {
		lines.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	lines.WriteString(text + "\n")
	if sum != "" {
		lines.WriteString("=" + sum + "\n")
	}
	return armorBegin + "\n" + headers + "\n" + lines.String() + armorEnd + "\n"
}

func TestGPGPublicKeyForms(t *testing.T) {
	key := append([]byte{0x99, 0x01, 0x0d, 4}, bytes.Repeat([]byte{7}, 200)...)
	sum := base64.StdEncoding.EncodeToString(crc24(key))
	good := map[string]string{
		"binary":             string(key),
		"binary, new header": "\xc6" + string(key[1:]),
		"armored":            armored(key, "", sum),
		"no checksum":        armored(key, "", ""),
		"headers":            armored(key, "Version: GnuPG v2\nComment: = and more\n", sum),
		"CR LF":              strings.ReplaceAll(armored(key, "", sum), "\n", "\r\n"),
		"text around":        "A key:\n\n" + armored(key, "", sum) + "\nend\n",
	}
	bad := map[string]string{
		"empty":           "",
		"wrong checksum":  armored(key, "", "AAAA"),
		"no end":          strings.TrimSuffix(armored(key, "", sum), armorEnd+"\n"),
		"no base64":       armorBegin + "\n\n%%%\n" + armorEnd,
		"other packet":    "\x88\x01\x02",
		"private key":     "\x95\x01\x02",
		"html":            "<html>",
		"only a text":     "key",
		"armored nothing": armored(nil, "", ""),
	}
	fetch := func(body string) ([]byte, error) {
		s := newService(t, true)
		s.handle("GET", "Projects/demo/SigningPolicies/gpg/Certificate/GpgPublicKey", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(body))
		})
		return newTestClient(t, s.config()).GPGPublicKey(t.Context(), "demo", "gpg")
	}
	for name, body := range good {
		if got, err := fetch(body); err != nil || !bytes.Equal(got[1:], key[1:]) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	for name, body := range bad {
		if got, err := fetch(body); err == nil || !strings.Contains(err.Error(), "demo/gpg") {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
}

// TestCRC24 uses a value that gpg wrote: the empty input has the initial value.
func TestCRC24(t *testing.T) {
	if got := base64.StdEncoding.EncodeToString(crc24(nil)); got != "twTO" {
		t.Error(got)
	}
	if got := base64.StdEncoding.EncodeToString(crc24([]byte("123456789"))); got != "Ic8C" { // CRC-24/OPENPGP check value 21CF02
		t.Error(got)
	}
}

func FuzzDearmor(f *testing.F) {
	f.Add([]byte(armored([]byte{0x99, 1, 2}, "Version: x\n", "")))
	f.Add([]byte(armorBegin + armorEnd))
	f.Add([]byte{0xc6, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := dearmor(data); err == nil && !startsWithPublicKey(key) {
			t.Errorf("%x", key)
		}
	})
}
