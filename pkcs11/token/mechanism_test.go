package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"signkit/internal/key"
	"signkit/pkcs11/wire"
)

// TestMechanismListInfoAndInitAgree: what is listed has an info and begins an
// operation; what is not has neither.
func TestMechanismListInfoAndInitAgree(t *testing.T) {
	b := newBench(t)
	session := b.open(t, "CONFIG").handle
	listed := numbers(b.expect(t, ckrOK, wire.GetMechanismList, slotID, 0, nil).payload)
	// The standard's numbers, in the order that tools depend on: the first is taken where none is named.
	want := []uint64{0x1, 0x6, 0x40, 0x41, 0x42, 0xD, 0x43, 0x44, 0x45, 0x1041, 0x1042, 0x1044, 0x1045, 0x1046}
	if !slices.Equal(listed, want) {
		t.Errorf("mechanisms %x, want %x", listed, want)
	}
	for id := range uint64(0x2000) {
		if !slices.Contains(listed, id) {
			b.expect(t, ckrMechanismInvalid, wire.GetMechanismInfo, slotID, id, nil)
			continue
		}
		key, flags := "demo/rsa", uint64(ckfHW|ckfSign)
		sizes := []uint64{2048, 4096}
		if id >= 0x1000 {
			key, flags, sizes = "demo/p256", 0x1900801, []uint64{256, 521}
		}
		if info := numbers(b.expect(t, ckrOK, wire.GetMechanismInfo, slotID, id, nil).payload); !slices.Equal(info, append(sizes, flags)) {
			t.Errorf("0x%x: info %x", id, info)
		}
		b.expect(t, ckrOK, wire.SignInit, session, b.privateKey(t, key), append(number(id), goodParameter(id)...))
		b.expect(t, ckrOK, wire.SignCancel, session, 0, nil)
	}
	if strings.Contains(b.log.String(), "level=ERROR") {
		t.Error("asking for the info of a mechanism that is not offered makes an error record")
	}
}

// goodParameter is the parameter of a mechanism as tools send it.
func goodParameter(mechanism uint64) []byte {
	switch mechanism {
	case 0xD, 0x43:
		return appendNumbers(nil, 0x250, 2, 32)
	case 0x44:
		return appendNumbers(nil, 0x260, 3, 48)
	case 0x45:
		return appendNumbers(nil, 0x270, 4, 64)
	}
	return nil
}

// TestSignInitTellsLengthAndKind without a signature: the module answers length queries from it.
func TestSignInitTellsLengthAndKind(t *testing.T) {
	b := newBench(t)
	session := b.open(t, "CONFIG").handle
	for _, test := range []struct {
		key       string
		mechanism uint64
		length    uint64
		flags     uint64
	}{
		{"demo/rsa", ckmRSAPKCS, 256, 0}, {"demo/rsa", ckmSHA512RSAPKCS, 256, wire.MultiPart}, {"demo/rsa", ckmRSAPKCSPSS, 256, 0},
		{"demo/p256", ckmECDSA, 64, 0}, {"demo/p384", ckmECDSASHA256, 96, wire.MultiPart}, {"demo/p521", ckmECDSA, 132, 0},
	} {
		res := b.expect(t, ckrOK, wire.SignInit, session, b.privateKey(t, test.key), append(number(test.mechanism), goodParameter(test.mechanism)...))
		if flags := numbers(res.payload); res.value != test.length || len(flags) != 1 || flags[0] != test.flags {
			t.Errorf("%s 0x%x: %d bytes, flags %v", test.key, test.mechanism, res.value, flags)
		}
		b.expect(t, ckrOK, wire.SignCancel, session, 0, nil)
		if n := b.key(test.key).signatures(); n != 0 {
			t.Errorf("%d signatures", n)
		}
	}
	b.expect(t, ckrArgumentsBad, wire.SignInit, session, b.privateKey(t, "demo/rsa"), []byte{1, 2, 3})
}

// TestECDSADigestsOfAnyLength: jarsigner hands SHA-384 digests to a P-256 key,
// and FIPS 186-5 says what they mean.
func TestECDSADigestsOfAnyLength(t *testing.T) {
	b := newBench(t)
	session := b.open(t, "CONFIG").handle
	for _, slug := range []string{"p256", "p384", "p521"} {
		key := b.privateKey(t, "demo/"+slug)
		public := b.key("demo/" + slug).Public().(*ecdsa.PublicKey)
		for _, length := range []int{1, 20, 28, 32, 48, 64, 128} {
			t.Run(fmt.Sprintf("%s/%d", slug, length), func(t *testing.T) {
				digest := slices.Repeat([]byte{0xC3}, length)
				b.expect(t, ckrOK, wire.SignInit, session, key, number(ckmECDSA))
				signature := b.expect(t, ckrOK, wire.Sign, session, 0, digest).payload
				half := len(signature) / 2
				r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
				if half != (public.Params().BitSize+7)/8 || !ecdsa.Verify(public, digest, r, s) {
					t.Errorf("%d bytes that do not verify", len(signature))
				}
			})
		}
	}
}

// optionsKey notes how it is asked to sign, and may answer something else.
type optionsKey struct {
	*fakeKey
	opts   crypto.SignerOpts
	answer []byte // nil: a signature
}

func (k *optionsKey) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.opts = opts
	if k.answer != nil {
		return k.answer, nil
	}
	return k.fakeKey.SignContext(ctx, digest, opts)
}

// TestKeyIsAskedInTermsOfTheSigner: hash and padding as crypto.Signer has them.
func TestKeyIsAskedInTermsOfTheSigner(t *testing.T) {
	b := newBench(t)
	s := b.open(t, "CONFIG")
	for _, test := range []struct {
		mechanism uint64
		key       string
		data      []byte
		hash      crypto.Hash
	}{
		{ckmRSAPKCS, "demo/rsa", key.DigestInfo(crypto.SHA384, make([]byte, 48)), crypto.SHA384},
		{ckmSHA1RSAPKCS, "demo/rsa", []byte(message), crypto.SHA1},
		{ckmSHA256RSAPKCS, "demo/rsa", []byte(message), crypto.SHA256},
		{ckmRSAPKCSPSS, "demo/rsa", make([]byte, 32), crypto.SHA256},
		{ckmSHA512RSAPKCSPSS, "demo/rsa", []byte(message), crypto.SHA512},
		{ckmECDSA, "demo/p256", make([]byte, 32), 0},
		{ckmECDSASHA384, "demo/p256", []byte(message), crypto.SHA384},
	} {
		o, err := b.begin(t, s, test.mechanism, goodParameter(test.mechanism), test.key)
		if err != nil {
			t.Fatal(err)
		}
		opts := optionsFor(t, b, o, test.data)
		if opts.HashFunc() != test.hash {
			t.Errorf("%v: hash %v, want %v", o.mechanism, opts.HashFunc(), test.hash)
		}
		pss, isPSS := opts.(*rsa.PSSOptions)
		if isPSS != o.mechanism.pss || isPSS && pss.SaltLength != rsa.PSSSaltLengthEqualsHash {
			t.Errorf("%v: options %#v", o.mechanism, opts)
		}
		o.end()
	}
}

func optionsFor(t *testing.T, b *bench, o *operation, data []byte) crypto.SignerOpts {
	t.Helper()
	asked := &optionsKey{fakeKey: o.key.(*fakeKey)}
	o.key = asked
	if _, err := b.signData(o, data); err != nil {
		t.Fatal(err)
	}
	return asked.opts
}

// TestWrongSignatureOfTheKey: ECDSA answers that are no signature are an error with a record.
func TestWrongSignatureOfTheKey(t *testing.T) {
	for name, answer := range map[string][]byte{
		"empty": {}, "garbage": []byte("garbage"), "zero r": {0x30, 6, 2, 1, 0, 2, 1, 1}, "negative s": {0x30, 6, 2, 1, 1, 2, 1, 0xff},
		"bytes after it": {0x30, 6, 2, 1, 1, 2, 1, 1, 0}, "r too large": append([]byte{0x30, 38, 2, 33, 2}, append(make([]byte, 32), 2, 1, 1)...),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			log := b.record(t)
			session := b.open(t, "CONFIG").handle
			key := b.privateKey(t, "demo/p256")
			b.expect(t, ckrOK, wire.SignInit, session, key, number(ckmECDSA))
			s, err := b.session(session)
			if err != nil {
				t.Fatal(err)
			}
			s.operation.key = &optionsKey{fakeKey: b.key("demo/p256"), answer: answer}
			res := b.expect(t, ckrDeviceError, wire.Sign, session, 0, make([]byte, 32))
			if len(res.payload) != 0 || log.errors() != 1 || strings.Contains(log.String(), "%!") {
				t.Errorf("%d bytes, log:\n%s", len(res.payload), log)
			}
		})
	}
}

// TestStaleKeyIsReadAgain although the error itself says nothing of it.
func TestStaleKeyIsReadAgain(t *testing.T) {
	for _, stale := range []bool{true, false} {
		b := newBench(t)
		session := b.open(t, "CONFIG").handle
		signer := b.key("demo/p256")
		handle := b.privateKey(t, "demo/p256")
		b.source.requests()
		signer.fail, signer.stale = key.NewError(key.BadRequest, "unknown policy"), stale
		b.expect(t, ckrOK, wire.SignInit, session, handle, number(ckmECDSA))
		b.expect(t, ckrArgumentsBad, wire.Sign, session, 0, make([]byte, 32))
		signer.fail, signer.stale = nil, false
		again := b.privateKey(t, "demo/p256")
		if asked := b.source.requests(); (asked == "demo/p256") != stale || (again != handle) != stale {
			t.Errorf("stale %v: asked %q, handle %d and %d", stale, asked, handle, again)
		}
		if stale {
			b.expect(t, ckrKeyHandleInvalid, wire.SignInit, session, handle, number(ckmECDSA))
		}
	}
}

// TestDigestInfosAreThoseOfTheStandardLibrary: a signature over each verifies
// as one of its hash, with and without the NULL parameters.
func TestDigestInfosAreThoseOfTheStandardLibrary(t *testing.T) {
	b := newBench(t)
	session := b.open(t, "CONFIG").handle
	handle := b.privateKey(t, "demo/rsa")
	for _, hash := range serviceHashes {
		digest := slices.Repeat([]byte{7}, hash.Size())
		full := key.DigestInfo(hash, digest)
		short := slices.Delete(slices.Clone(full), len(full)-len(digest)-4, len(full)-len(digest)-2) // the NULL
		short[1], short[3] = short[1]-2, short[3]-2
		for _, data := range [][]byte{full, short} {
			b.expect(t, ckrOK, wire.SignInit, session, handle, number(ckmRSAPKCS))
			signature := b.expect(t, ckrOK, wire.Sign, session, 0, data).payload
			if !verifies(b.key("demo/rsa").Public(), false, hash, digest, signature) {
				t.Errorf("%v, %d bytes: does not verify", hash, len(data))
			}
		}
	}
	wrong := key.DigestInfo(crypto.SHA256, make([]byte, 32))
	wrong[14]++ // another OID
	for _, refused := range [][]byte{wrong, key.DigestInfo(crypto.MD5, make([]byte, 16)), key.DigestInfo(crypto.SHA224, make([]byte, 28))} {
		b.expect(t, ckrOK, wire.SignInit, session, handle, number(ckmRSAPKCS))
		b.expect(t, ckrDataInvalid, wire.Sign, session, 0, refused)
	}
}
