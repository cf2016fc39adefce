package card

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"signkit/gpgagent/assuan"
	"signkit/gpgagent/keyfile"
	"signkit/internal/key"
)

// digestInfo is what gpg-agent makes of a message with a hash.
func digestInfo(t *testing.T, hash crypto.Hash, message string) (data, digest []byte) {
	t.Helper()
	h := hash.New()
	h.Write([]byte(message))
	digest = h.Sum(nil)
	return key.DigestInfo(hash, digest), digest
}

func name(hash crypto.Hash) string {
	return strings.ToLower(strings.ReplaceAll(hash.String(), "-", ""))
}

// The prefixes are those of the standard library.
func TestDigestInfoPrefixes(t *testing.T) {
	sha224, sha384 := sha256.Sum224(nil), sha512.Sum384(nil)
	sha1, sha256, sha512 := sha1.Sum(nil), sha256.Sum256(nil), sha512.Sum512(nil)
	for hash, digest := range map[crypto.Hash][]byte{crypto.SHA1: sha1[:], crypto.SHA224: sha224[:], crypto.SHA256: sha256[:],
		crypto.SHA384: sha384[:], crypto.SHA512: sha512[:]} {
		data, _ := digestInfo(t, hash, "")
		var info struct {
			Algorithm struct {
				OID        asn1.ObjectIdentifier
				Parameters asn1.RawValue
			}
			Digest []byte
		}
		rest, err := asn1.Unmarshal(data, &info)
		if err != nil || len(rest) > 0 || !bytes.Equal(info.Digest, digest) ||
			!bytes.Equal(info.Algorithm.Parameters.FullBytes, asn1.NullBytes) {
			t.Errorf("%s: %x is no DigestInfo: %v", hash, data, err)
		}
		got, gotDigest, err := readDigestInfo(data)
		if err != nil || got != hash || !bytes.Equal(gotDigest, digest) {
			t.Errorf("%s: readDigestInfo = %s, %x, %v", hash, got, gotDigest, err)
		}
	}
}

func TestReadDigestInfoRefuses(t *testing.T) {
	data, digest := digestInfo(t, crypto.SHA256, "x")
	md5 := append([]byte("\x30\x20\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05\x05\x00\x04\x10"), make([]byte, 16)...)
	for what, data := range map[string][]byte{
		"nothing": nil, "a digest alone": digest, "one octet less": data[:len(data)-1], "one octet more": append(bytes.Clone(data), 0),
		"a prefix alone": data[:19], "MD5": md5, "TLS's MD5 and SHA-1": make([]byte, 36),
	} {
		if hash, _, err := readDigestInfo(data); err == nil || codeOf(err) != assuan.InvalidData {
			t.Errorf("%s: readDigestInfo = %s, %v; want InvalidData", what, hash, err)
		}
	}
}

func TestSignsWithEveryKeyAndHash(t *testing.T) {
	b := newBench(t, testKeyNames...)
	c := b.dial()
	for _, key := range testKeyNames {
		for _, hash := range hashes {
			e := testEntry(t, key)
			data, digest := digestInfo(t, hash, "message")
			signature, result := c.sign(t, "--hash="+name(hash), e.Keygrip, data)
			if checkStrength(testKeys()[key].Public(), hash) != nil {
				if result != "ERR 100663301" || len(signature) > 0 {
					t.Errorf("%s, %s: %q, %d octets; want Invalid digest algorithm", key, hash, result, len(signature))
				}
				continue
			}
			if result != "OK" || !verifyCard(t, e, hash, digest, signature) {
				t.Errorf("%s, %s: %q, %d octets that do not verify", key, hash, result, len(signature))
			}
			if want := map[string]int{"rsa2048": 256, "rsa3072": 384, "p256": 64, "p384": 96, "p521": 132}[key]; len(signature) != want {
				t.Errorf("%s, %s: %d octets, want %d", key, hash, len(signature), want)
			}
		}
	}
}

func TestAHashShorterThanTheCurveIsRefused(t *testing.T) {
	b := newBench(t, "p256", "p384", "p521")
	c := b.dial()
	for _, test := range []struct {
		key    string
		hash   crypto.Hash
		advice string // "" where it is long enough
	}{
		{"p256", crypto.SHA1, "SHA256"}, {"p256", crypto.SHA224, "SHA256"}, {"p256", crypto.SHA256, ""}, {"p256", crypto.SHA512, ""},
		{"p384", crypto.SHA256, "SHA384"}, {"p384", crypto.SHA384, ""}, {"p521", crypto.SHA384, "SHA512"}, {"p521", crypto.SHA512, ""},
	} {
		data, _ := digestInfo(t, test.hash, "message")
		_, result := c.sign(t, "--hash="+name(test.hash), testEntry(t, test.key).Keygrip, data)
		if test.advice == "" {
			if result != "OK" {
				t.Errorf("%s, %s: %q", test.key, test.hash, result)
			}
			continue
		}
		if result != "ERR 100663301" {
			t.Errorf("%s, %s: %q, want Invalid digest algorithm", test.key, test.hash, result)
		}
		record := fmt.Sprintf("%s is too short for a key on the curve P-%s", test.hash, test.key[1:])
		if log := b.log.String(); !strings.Contains(log, record) || !strings.Contains(log, "gpg --digest-algo "+test.advice) {
			t.Errorf("%s, %s: no advice in\n%s", test.key, test.hash, log)
		}
	}
}

func TestDataMustBeWhatHashSays(t *testing.T) {
	b := newBench(t, "rsa2048")
	c := b.dial()
	grip := testEntry(t, "rsa2048").Keygrip
	data, _ := digestInfo(t, crypto.SHA256, "message")
	for options, want := range map[string]string{
		"--hash=sha256": "OK", "--hash=SHA256": "OK", "": "OK", "--other=1": "OK",
		"--hash=sha512": "ERR 100663301", "--hash=sha1": "ERR 100663301", "--hash=md5": "ERR 100663301", "--hash=": "ERR 100663301",
		"--hash=none": "ERR 100663301",
	} {
		if _, got := c.sign(t, options, grip, data); got != want {
			t.Errorf("PKSIGN %s: %q, want %q", options, got, want)
		}
	}
	if _, got := c.sign(t, "--hash=sha256", grip, data[1:]); got != "ERR 100663375" {
		t.Errorf("broken DigestInfo: %q, want Invalid data", got)
	}
}

func TestDataIsCollectedAndForgotten(t *testing.T) {
	b := newBench(t, "p256")
	c := b.dial()
	e := testEntry(t, "p256")
	data, digest := digestInfo(t, crypto.SHA256, "message")
	c.ask(t, "SETDATA "+hexText(data[:10]))
	c.ask(t, "SETDATA --append "+hexText(data[10:30]))
	c.ask(t, "SETDATA --append "+hexText(data[30:]))
	c.send(t, "PKSIGN --hash=sha256 -- "+strings.ToLower(e.Keygrip))
	if signature := c.readData(t); !verifyCard(t, e, crypto.SHA256, digest, signature) {
		t.Errorf("%d octets that do not verify", len(signature))
	}
	if got := c.result(t); got != "OK" {
		t.Errorf("PKSIGN: %q", got)
	}
	for _, forget := range []string{"RESTART", "RESET"} {
		c.ask(t, "SETDATA "+hexText(data))
		c.ask(t, forget)
		c.send(t, "PKSIGN --hash=sha256 "+e.Keygrip)
		if got := c.result(t); got != "ERR 100663354" {
			t.Errorf("PKSIGN after %s: %q, want No data", forget, got)
		}
	}
	if got := b.dial().ask(t, "PKSIGN "+e.Keygrip); !strings.HasPrefix(got, "ERR 100663354 ") {
		t.Errorf("PKSIGN on another connection: %q, want No data", got)
	}
}

func TestDataIsBounded(t *testing.T) {
	c := newBench(t).dial()
	part := strings.Repeat("00", 400)
	for range maxData / 400 {
		if got := c.ask(t, "SETDATA --append "+part); got != "OK" {
			t.Fatal(got)
		}
	}
	if got := c.ask(t, "SETDATA --append "+part); !strings.HasPrefix(got, "ERR 100663569 ") {
		t.Errorf("answers %q, want Too much data", got)
	}
}

// A signer that gives something else than its key's signature never gets it
// past the card.
func TestWrongSignaturesAreNotGivenOut(t *testing.T) {
	for what, replace := range map[string]func(context.Context, crypto.Signer, []byte, crypto.SignerOpts) ([]byte, error){
		"nothing": func(context.Context, crypto.Signer, []byte, crypto.SignerOpts) ([]byte, error) { return nil, nil },
		"zeros": func(context.Context, crypto.Signer, []byte, crypto.SignerOpts) ([]byte, error) {
			return make([]byte, 256), nil
		},
		"another hash": func(_ context.Context, k crypto.Signer, d []byte, o crypto.SignerOpts) ([]byte, error) {
			d = bytes.Clone(d)
			d[0] ^= 1
			return k.Sign(rand.Reader, d, o)
		},
		"another key": func(_ context.Context, k crypto.Signer, d []byte, o crypto.SignerOpts) ([]byte, error) {
			other := map[crypto.Signer]string{testKeys()["rsa2048"]: "rsa3072", testKeys()["p256"]: "p384"}[k]
			return testKeys()[other].Sign(rand.Reader, d, o)
		},
		"one octet more": func(_ context.Context, k crypto.Signer, d []byte, o crypto.SignerOpts) ([]byte, error) {
			signature, err := k.Sign(rand.Reader, d, o)
			return append(signature, 0), err
		},
		"r and s, not DER": func(_ context.Context, k crypto.Signer, d []byte, o crypto.SignerOpts) ([]byte, error) {
			der, err := k.Sign(rand.Reader, d, o)
			if err != nil || len(der) > 100 {
				return nil, err
			}
			return key.ToP1363(der, 32)
		},
	} {
		b := newBench(t, "rsa2048", "p256")
		b.replace = replace
		c := b.dial()
		for _, key := range []string{"rsa2048", "p256"} {
			data, _ := digestInfo(t, crypto.SHA256, "message")
			signature, result := c.sign(t, "--hash=sha256", testEntry(t, key).Keygrip, data)
			if len(signature) > 0 || result != "ERR 100663304" {
				t.Errorf("%s, %s: %q and %d octets, want Bad signature", what, key, result, len(signature))
			}
		}
		if log := b.log.String(); !strings.Contains(log, "does not verify") || !strings.Contains(log, "demo/p256") {
			t.Errorf("%s: no record in\n%s", what, log)
		}
	}
}

func TestAClientThatLeavesCancelsTheSignature(t *testing.T) {
	b := newBench(t, "p256")
	started, ended := make(chan struct{}), make(chan error, 1)
	b.replace = func(ctx context.Context, _ crypto.Signer, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, fmt.Errorf("calling the service: %w", ctx.Err())
	}
	c := b.dial()
	data, _ := digestInfo(t, crypto.SHA256, "message")
	c.ask(t, "SETDATA "+hexText(data))
	c.send(t, "PKSIGN --hash=sha256 "+testEntry(t, "p256").Keygrip)
	await(t, started)
	_ = c.out.Close()
	if err := await(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the signature ended with %v", err)
	}
	if got := c.result(t); got != "ERR 100663395" {
		t.Errorf("PKSIGN: %q, want Operation cancelled", got)
	}
}

func TestASignatureHasADeadline(t *testing.T) {
	b := newBench(t, "p256")
	b.replace = func(ctx context.Context, _ crypto.Signer, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	card := New(Options{KeyList: b.path, Open: b.open, Bound: time.Millisecond, Log: b.server.Log})
	b.server.Session = card.Session
	data, _ := digestInfo(t, crypto.SHA256, "message")
	if _, got := b.dial().sign(t, "--hash=sha256", testEntry(t, "p256").Keygrip, data); got != "ERR 100663358" {
		t.Errorf("PKSIGN: %q, want Timeout", got)
	}
	if got := New(Options{}).bound; got != 20*time.Minute {
		t.Errorf("default deadline %s", got)
	}
}

func TestASignerIsOpenedOnce(t *testing.T) {
	b := newBench(t, "p256", "p384")
	data, _ := digestInfo(t, crypto.SHA384, "message")
	for range 3 {
		c := b.dial()
		for _, key := range []string{"p256", "p384"} {
			if _, got := c.sign(t, "", testEntry(t, key).Keygrip, data); got != "OK" {
				t.Fatal(got)
			}
		}
	}
	if b.openings != 2 || b.signatures != 6 {
		t.Errorf("%d openings for %d signatures, want 2 and 6", b.openings, b.signatures)
	}
}

func TestASignerIsOpenedAgainWhenItsEntryChanges(t *testing.T) {
	b := newBench(t, "p256")
	c := b.dial()
	data, _ := digestInfo(t, crypto.SHA256, "message")
	grip := testEntry(t, "p256").Keygrip
	for i := range 2 {
		b.add("p384") // a new file, but nothing new about the key
		if _, got := c.sign(t, "", grip, data); got != "OK" || b.openings != 1 {
			t.Fatalf("signature %d: %q, %d openings", i, got, b.openings)
		}
	}
	e := testEntry(t, "p256")
	e.UserID = "another"
	if err := keyfile.Add(b.path, e); err != nil {
		t.Fatal(err)
	}
	if _, got := c.sign(t, "", grip, data); got != "OK" || b.openings != 2 {
		t.Errorf("%q, %d openings; want 2", got, b.openings)
	}
}

func TestASignerThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	b := newBench(t, "p256")
	c := b.dial()
	data, _ := digestInfo(t, crypto.SHA256, "message")
	grip := testEntry(t, "p256").Keygrip
	b.openErr = errors.New("set SIGNPATH_API_TOKEN")
	if _, got := c.sign(t, "", grip, data); got != "ERR 100663411" {
		t.Errorf("PKSIGN: %q, want Configuration error", got)
	}
	if log := b.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "set SIGNPATH_API_TOKEN") {
		t.Errorf("no record in\n%s", log)
	}
	b.openErr = assuan.Errorf(assuan.NotOperational, "no module")
	if _, got := c.sign(t, "", grip, data); got != "ERR 100663472" {
		t.Errorf("PKSIGN: %q, want Not operational", got)
	}
	b.openErr = nil
	if _, got := c.sign(t, "", grip, data); got != "OK" {
		t.Errorf("PKSIGN: %q", got)
	}
}

func TestManySignaturesAtATime(t *testing.T) {
	b := newBench(t, "p256")
	var arrived, together = make(chan struct{}, 8), make(chan struct{})
	b.replace = func(ctx context.Context, k crypto.Signer, d []byte, o crypto.SignerOpts) ([]byte, error) {
		arrived <- struct{}{}
		select {
		case <-together:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return k.Sign(rand.Reader, d, o)
	}
	e := testEntry(t, "p256")
	connections := make([]*connection, 8)
	for i := range connections {
		connections[i] = b.dial()
		data, _ := digestInfo(t, crypto.SHA256, fmt.Sprint(i))
		connections[i].ask(t, "SETDATA "+hexText(data))
		connections[i].send(t, "PKSIGN --hash=sha256 "+e.Keygrip)
	}
	for range connections {
		await(t, arrived) // all of them are being made now
	}
	close(together)
	for i, c := range connections {
		_, digest := digestInfo(t, crypto.SHA256, fmt.Sprint(i))
		if signature := c.readData(t); !verifyCard(t, e, crypto.SHA256, digest, signature) {
			t.Errorf("connection %d got the signature of something else", i)
		}
	}
}

func TestNoSecretIsNamedInAnswers(t *testing.T) {
	b := newBench(t, "p256")
	b.failNext(errors.New("a text with a token"))
	data, _ := digestInfo(t, crypto.SHA256, "message")
	c := b.dial()
	c.ask(t, "SETDATA "+hexText(data))
	if got := c.ask(t, "PKSIGN "+testEntry(t, "p256").Keygrip); got != "ERR 100663297 General error <SCD>" {
		t.Errorf("answers %q", got)
	}
}
