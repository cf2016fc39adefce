package token

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/x509"
	"testing"

	"signkit/pkcs11/wire"
)

// TestAttributes is the table of what each object shows.
func TestAttributes(t *testing.T) {
	b := newBench(t)
	b.open(t, "CONFIG")
	leaf := b.key("demo/rsa").leaf
	info, err := x509.MarshalPKIXPublicKey(b.key("demo/p256").Public())
	if err != nil {
		t.Fatal(err)
	}
	check := sha1.Sum(leaf.Raw)
	tests := []struct {
		class uint64
		key   string
		want  map[uint64][]byte // nil: the attribute is not there
	}{
		{ckoPrivateKey, "demo/rsa", map[uint64][]byte{
			ckaClass: number(3), ckaKeyType: number(0), ckaLabel: []byte("demo/rsa"), ckaID: []byte("demo/rsa"), ckaSubject: leaf.RawSubject,
			ckaToken: yes, ckaPrivate: yes, ckaSensitive: yes, ckaAlwaysSensitive: yes, ckaExtractable: no, ckaNeverExtractable: yes, ckaLocal: no,
			ckaModifiable: no, ckaCopyable: no, ckaDestroyable: no, ckaSign: yes, ckaSignRecover: no, ckaDecrypt: no, ckaUnwrap: no, ckaDerive: no,
			ckaAlwaysAuthenticate: no, ckaWrapWithTrusted: no, ckaPublicExponent: {1, 0, 1}, ckaModulusBits: nil, ckaStartDate: {}, ckaEndDate: {},
		}},
		{ckoPrivateKey, "demo/p256", map[uint64][]byte{
			ckaKeyType: number(3), ckaECParams: {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}, ckaPublicKeyInfo: info, ckaModulus: nil,
		}},
		{ckoPublicKey, "demo/rsa", map[uint64][]byte{
			ckaClass: number(2), ckaPrivate: no, ckaVerify: yes, ckaModulusBits: number(2048), ckaEncrypt: no, ckaWrap: no, ckaVerifyRecover: no,
			ckaTrusted: no, ckaDerive: no, ckaSign: nil, ckaSensitive: nil,
		}},
		{ckoCertificate, "demo/rsa", map[uint64][]byte{
			ckaClass: number(1), ckaCertificateType: number(0), ckaCertificateCategory: number(1), ckaValue: leaf.Raw, ckaSubject: leaf.RawSubject,
			ckaIssuer: leaf.RawIssuer, ckaSerialNumber: {2, 2, 0, 200}, ckaCheckValue: check[:3], ckaTrusted: no, ckaPrivate: no, ckaKeyType: nil,
		}},
	}
	for _, test := range tests {
		found, err := b.find(context.Background(), []wire.Attribute{class(test.class), text(ckaID, test.key)})
		if err != nil || len(found) != 1 {
			t.Fatalf("found %d, %v", len(found), err)
		}
		o, err := b.lookUp(found[0])
		if err != nil {
			t.Fatal(err)
		}
		for typ, want := range test.want {
			got, known := o.attributes[typ]
			if known != (want != nil) || !bytes.Equal(got, want) {
				t.Errorf("%s, class %d: attribute 0x%x is %x (there: %v), want %x", test.key, test.class, typ, got, known, want)
			}
		}
	}
}

// TestEveryEntryOfABatchIsAnswered, whatever is wrong with another.
func TestEveryEntryOfABatchIsAnswered(t *testing.T) {
	b := newBench(t)
	b.open(t, "CONFIG")
	found, err := b.find(context.Background(), searchByName("demo/rsa"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := b.lookUp(found[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		types []uint64
		want  error
	}{
		{[]uint64{ckaID, ckaLabel}, nil},
		{[]uint64{ckaID, 0x999, ckaLabel}, ckrAttributeTypeInvalid},
		{[]uint64{0x999, ckaPrivateExponent, ckaLabel}, ckrAttributeSensitive},
		{[]uint64{ckaPrivateExponent, 0x999}, ckrAttributeSensitive},
		{nil, nil},
	} {
		values, err := o.values(test.types)
		if err != test.want {
			t.Errorf("%x: %v, want %v", test.types, err, test.want)
		}
		r := wire.NewReader(values)
		for _, typ := range test.types {
			length := r.Uint64()
			if want, known := o.attributes[typ]; known && !bytes.Equal(r.Bytes(length), want) {
				t.Errorf("0x%x has another value", typ)
			} else if !known && length != ^uint64(0) {
				t.Errorf("0x%x has the length %d", typ, length)
			}
		}
		if err := r.Done(); err != nil {
			t.Error(err)
		}
	}
}

// TestObjectsAreHiddenAfterLogout, and private ones have new handles after the next login (PKCS #11 v2.40, C_Logout).
func TestObjectsAreHiddenAfterLogout(t *testing.T) {
	b := newBench(t)
	b.open(t, "CONFIG")
	ctx := context.Background()
	before, err := b.find(ctx, searchByName("demo/rsa"))
	if err != nil || len(before) != 1 {
		t.Fatalf("found %d, %v", len(before), err)
	}
	if err := b.logOut(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.lookUp(before[0]); err != ckrObjectHandleInvalid {
		t.Errorf("after logout: %v", err)
	}
	if err := b.logIn(ctx, ckuUser, "CONFIG"); err != nil {
		t.Fatal(err)
	}
	if after, err := b.find(ctx, searchByName("demo/rsa")); err != nil || len(after) != 1 || after[0] == before[0] {
		t.Errorf("found %v, %v; before it was %v", after, err, before)
	}
	if _, err := b.lookUp(before[0]); err != ckrObjectHandleInvalid {
		t.Errorf("after another login: %v", err)
	}
}
