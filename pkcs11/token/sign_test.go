package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"math/big"
	"strings"
	"testing"

	"signkit/internal/key"

	"signkit/pkcs11/wire"
)

// What CK_RSA_PKCS_PSS_PARAMS names.
const (
	ckmSHA256     = 0x250
	ckgMGF1SHA1   = 1
	ckgMGF1SHA256 = 2
)

const message = "the text that is signed"

// pssParameters is CK_RSA_PKCS_PSS_PARAMS.
func pssParameters(hashAlg, mgf, salt uint64) []byte { return appendNumbers(nil, hashAlg, mgf, salt) }

// begin is C_SignInit with a key by name.
func (b *bench) begin(t testing.TB, s *session, mechanism uint64, parameter []byte, key string) (*operation, error) {
	t.Helper()
	found, err := b.find(context.Background(), searchByName(key))
	if err != nil || len(found) != 1 {
		t.Fatalf("found %d keys %s, %v", len(found), key, err)
	}
	return b.signInit(context.Background(), s, "socket", mechanism, parameter, found[0])
}

// TestEveryMechanismSigns lets each mechanism sign with each key that fits,
// and verifies with the standard library.
func TestEveryMechanismSigns(t *testing.T) {
	b := newBench(t)
	s := b.open(t, "CONFIG")
	for _, m := range mechanisms {
		for _, key := range []string{"demo/rsa", "demo/p256", "demo/p384", "demo/p521"} {
			_, isRSA := b.key(key).Public().(*rsa.PublicKey)
			if isRSA != (m.keyType == ckkRSA) {
				continue
			}
			for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
				if m.hash != 0 && m.hash != hash {
					continue
				}
				t.Run(m.name+"/"+key+"/"+hash.String(), func(t *testing.T) { signAndVerify(t, b, s, &m, key, hash) })
			}
		}
	}
}

func signAndVerify(t *testing.T, b *bench, s *session, m *mechanism, name string, hash crypto.Hash) {
	var parameter []byte
	if m.pss {
		h, _ := key.FindHash(hash)
		parameter = pssParameters(uint64(h.Mechanism), uint64(h.MGF1), uint64(hash.Size()))
	}
	o, err := b.begin(t, s, m.id, parameter, name)
	if err != nil {
		t.Fatal(err)
	}
	defer o.end()
	h := hash.New()
	h.Write([]byte(message))
	digest, data := h.Sum(nil), []byte(message)
	if m.hash == 0 {
		data = digest
		if m.keyType == ckkRSA && !m.pss {
			data = key.DigestInfo(hash, digest)
		}
	}
	signature, err := b.signData(o, data)
	if err != nil {
		t.Fatal(err)
	}
	if uint64(len(signature)) != signatureLength(o.key.Public()) {
		t.Errorf("%d bytes", len(signature))
	}
	if !verifies(o.key.Public(), m.pss, hash, digest, signature) {
		t.Error("the signature does not verify")
	}
}

func verifies(public crypto.PublicKey, pss bool, hash crypto.Hash, digest, signature []byte) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if pss {
			return rsa.VerifyPSS(k, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(k, hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		half := len(signature) / 2
		return ecdsa.Verify(k, digest, new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
	}
	return false
}

// TestSignInitRefuses: everything that C_SignInit can know is refused there, without a request.
func TestSignInitRefuses(t *testing.T) {
	good := pssParameters(ckmSHA256, ckgMGF1SHA256, 32)
	tests := []struct {
		name      string
		mechanism uint64
		parameter []byte
		key       string
		want      Error
	}{
		{"unknown mechanism", 0x9999, nil, "demo/rsa", ckrMechanismInvalid},
		{"MD5", 0x5, nil, "demo/rsa", ckrMechanismInvalid},
		{"RSA with an EC key", ckmRSAPKCS, nil, "demo/p256", ckrKeyTypeInconsistent},
		{"EC with an RSA key", ckmECDSA, nil, "demo/rsa", ckrKeyTypeInconsistent},
		{"needless parameter", ckmSHA256RSAPKCS, []byte{1}, "demo/rsa", ckrMechanismParamInvalid},
		{"PSS without parameters", ckmRSAPKCSPSS, nil, "demo/rsa", ckrMechanismParamInvalid},
		{"PSS, short parameters", ckmRSAPKCSPSS, good[:23], "demo/rsa", ckrMechanismParamInvalid},
		{"PSS, unknown hash", ckmRSAPKCSPSS, pssParameters(0x255, 5, 28), "demo/rsa", ckrMechanismParamInvalid},
		{"PSS, other MGF", ckmRSAPKCSPSS, pssParameters(ckmSHA256, ckgMGF1SHA1, 32), "demo/rsa", ckrMechanismParamInvalid},
		{"PSS, longer salt", ckmRSAPKCSPSS, pssParameters(ckmSHA256, ckgMGF1SHA256, 64), "demo/rsa", ckrMechanismParamInvalid},
		{"PSS, no salt", ckmRSAPKCSPSS, pssParameters(ckmSHA256, ckgMGF1SHA256, 0), "demo/rsa", ckrMechanismParamInvalid},
		{"hashed PSS without parameters", ckmSHA256RSAPKCSPSS, nil, "demo/rsa", ckrMechanismParamInvalid},
		{"hashed PSS with another hash", ckmSHA384RSAPKCSPSS, good, "demo/rsa", ckrMechanismParamInvalid},
		{"good", ckmRSAPKCSPSS, good, "demo/rsa", ckrOK},
	}
	b := newBench(t)
	s := b.open(t, "CONFIG")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o, err := b.begin(t, s, test.mechanism, test.parameter, test.key)
			if got := returnValue(err); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if err == nil {
				o.end()
			}
		})
	}
	if n := b.key("demo/rsa").signed; n != 0 {
		t.Errorf("%d signatures were asked for", n)
	}
}

// TestSignRefusesData that is not what the mechanism takes, without a request.
func TestSignRefusesData(t *testing.T) {
	tests := []struct {
		name      string
		mechanism uint64
		parameter []byte
		key       string
		length    int
		want      Error
	}{
		{"bare digest for RSA", ckmRSAPKCS, nil, "demo/rsa", 32, ckrDataInvalid},
		{"MD5 and SHA-1 together", ckmRSAPKCS, nil, "demo/rsa", 36, ckrDataInvalid},
		{"nothing for RSA", ckmRSAPKCS, nil, "demo/rsa", 0, ckrDataInvalid},
		{"what would fit into RSA", ckmRSAPKCS, nil, "demo/rsa", 245, ckrDataInvalid},
		{"a byte too many for RSA", ckmRSAPKCS, nil, "demo/rsa", 246, ckrDataLenRange},
		{"a file for RSA", ckmRSAPKCS, nil, "demo/rsa", 1000, ckrDataLenRange},
		{"short digest for PSS", ckmRSAPKCSPSS, pssParameters(ckmSHA256, ckgMGF1SHA256, 32), "demo/rsa", 20, ckrDataLenRange},
		{"nothing for EC", ckmECDSA, nil, "demo/p256", 0, ckrDataLenRange},
		{"a file for EC", ckmECDSA, nil, "demo/p256", 1000, ckrDataLenRange},
	}
	b := newBench(t)
	s := b.open(t, "CONFIG")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o, err := b.begin(t, s, test.mechanism, test.parameter, test.key)
			if err != nil {
				t.Fatal(err)
			}
			defer o.end()
			if _, err := b.signData(o, make([]byte, test.length)); returnValue(err) != test.want {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if n := b.key(test.key).signed; n != 0 {
				t.Errorf("%d signatures were asked for", n)
			}
		})
	}
}

// TestShortenedTextIsNeverSigned: numbers and counts that differ from what was hashed are refused.
func TestShortenedTextIsNeverSigned(t *testing.T) {
	tests := []struct {
		name    string
		numbers []uint64
		total   uint64
		want    Error
	}{
		{"all", []uint64{0, 1, 2}, 15, ckrOK},
		{"a part is missing", []uint64{0, 2}, 15, ckrDeviceError},
		{"a part came twice", []uint64{0, 1, 1}, 15, ckrDeviceError},
		{"parts changed places", []uint64{1, 0, 2}, 15, ckrDeviceError},
		{"more was sent", []uint64{0, 1, 2}, 20, ckrDeviceError},
		{"less was sent", []uint64{0, 1, 2}, 14, ckrDeviceError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			s := b.open(t, "CONFIG")
			o, err := b.begin(t, s, ckmECDSASHA256, nil, "demo/p256")
			if err != nil {
				t.Fatal(err)
			}
			defer o.end()
			for _, n := range test.numbers {
				if err = o.expectUpdate(n); err != nil {
					break
				}
				o.update([]byte("hello"))
			}
			if err == nil {
				_, err = b.final(o, test.total)
			}
			if returnValue(err) != test.want {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if n := b.key("demo/p256").signed; (n == 1) != (test.want == ckrOK) {
				t.Errorf("%d signatures were asked for", n)
			}
		})
	}
}

func TestOperationBelongsToItsSocket(t *testing.T) {
	b := newBench(t)
	s := b.open(t, "CONFIG")
	o, err := b.begin(t, s, ckmECDSASHA256, nil, "demo/p256")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.current("another socket"); err != ckrOperationNotInitialized {
		t.Errorf("another socket: %v", err)
	}
	if _, err := b.begin(t, s, ckmECDSASHA256, nil, "demo/p256"); err != ckrOperationActive {
		t.Errorf("second C_SignInit: %v", err)
	}
	o.end()
	if _, err := s.current("socket"); err != ckrOperationNotInitialized {
		t.Errorf("after the end: %v", err)
	}
}

// TestClosingTheSessionEndsASignature that waits for the service.
func TestClosingTheSessionEndsASignature(t *testing.T) {
	b := newBench(t)
	s := b.open(t, "CONFIG")
	b.key("demo/p256").wait = make(chan struct{})
	o, err := b.begin(t, s, ckmECDSASHA256, nil, "demo/p256")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := b.signData(o, []byte(message)); ended <- err }()
	if err := b.closeSession(s.handle); err != nil {
		t.Fatal(err)
	}
	if err := await(t, ended); returnValue(err) != ckrSessionClosed {
		t.Errorf("got %v", err)
	}
}

// TestWrongSignatureDropsTheKey: the next search asks for the policy again.
func TestWrongSignatureDropsTheKey(t *testing.T) {
	b := newBench(t)
	s := b.open(t, "CONFIG")
	wrong := key.NewError(key.BadAnswer, "it does not verify")
	b.key("demo/rsa").fail = wrong
	o, err := b.begin(t, s, ckmSHA256RSAPKCS, nil, "demo/rsa")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.signData(o, []byte(message)); returnValue(err) != ckrDeviceError || !errors.Is(err, wrong) {
		t.Errorf("got %v", err)
	}
	o.end()
	b.source.requests()
	b.key("demo/rsa").fail = nil
	if o, err = b.begin(t, s, ckmSHA256RSAPKCS, nil, "demo/rsa"); err != nil {
		t.Fatal(err)
	}
	o.end()
	if asked := b.source.requests(); asked != "demo/rsa" {
		t.Errorf("asked %q", asked)
	}
}

// TestEverySignatureIsAskedFor, of the same bytes too: the service's audit log shows each that a tool was given.
func TestEverySignatureIsAskedFor(t *testing.T) {
	b := newBench(t)
	s := b.open(t, "CONFIG")
	for _, test := range []struct {
		mechanism uint64
		parameter []byte
		key       string
		want      int
	}{
		{ckmSHA256RSAPKCS, nil, "demo/rsa", 2},
		{ckmSHA256RSAPKCSPSS, pssParameters(ckmSHA256, ckgMGF1SHA256, 32), "demo/rsa", 4},
		{ckmECDSASHA256, nil, "demo/p256", 2},
	} {
		for range 2 {
			o, err := b.begin(t, s, test.mechanism, test.parameter, test.key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.signData(o, []byte(message)); err != nil {
				t.Fatal(err)
			}
			o.end()
		}
		if n := b.key(test.key).signed; n != test.want {
			t.Errorf("0x%x: %d signatures, want %d", test.mechanism, n, test.want)
		}
	}
}

// TestRecordsNameCallAndResult: the tool says "device error"; the record says why.
func TestRecordsNameCallAndResult(t *testing.T) {
	b := newBench(t)
	s := b.open(t, "CONFIG")
	payload := appendNumbers(nil, 0x9999)
	rv, _ := b.handle(&request{Request: wire.Request{Call: wire.SignInit, Handle: s.handle}, ctx: context.Background(), payload: wire.NewReader(payload)})
	if rv != ckrMechanismInvalid {
		t.Errorf("got %v", rv)
	}
	for _, want := range []string{"level=ERROR", "C_SignInit", "CKR_MECHANISM_INVALID", "0x9999"} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("no %q in\n%s", want, b.log)
		}
	}
}

// FuzzPSSParameter: what is taken is what the service can do.
func FuzzPSSParameter(f *testing.F) {
	f.Add(uint64(ckmRSAPKCSPSS), pssParameters(ckmSHA256, ckgMGF1SHA256, 32))
	f.Add(uint64(ckmSHA512RSAPKCSPSS), []byte{})
	f.Fuzz(func(t *testing.T, id uint64, parameter []byte) {
		m, err := findMechanism(id)
		if err != nil {
			return
		}
		if hash, err := m.checkParameter(parameter); err == nil && m.pss && uint64(hash.Size()) != wire.NewReader(parameter[16:]).Uint64() {
			t.Errorf("a salt that is not as long as %v is taken", hash)
		}
	})
}

// FuzzCall sends any call with any payload.
func FuzzCall(f *testing.F) {
	for call := range calls {
		f.Add(uint32(call), uint64(1), uint64(1), []byte("0123456789abcdef"))
	}
	b := newBench(f)
	s := b.open(f, "CONFIG")
	f.Fuzz(func(_ *testing.T, call uint32, handle, n uint64, payload []byte) {
		if call == wire.CloseSession || call == wire.CloseAllSessions || call == wire.Logout {
			return
		}
		if handle%2 == 1 {
			handle = s.handle
		}
		b.handle(&request{Request: wire.Request{Call: call, Handle: handle, Number: n}, ctx: context.Background(), payload: wire.NewReader(payload), socket: "socket"})
	})
}
