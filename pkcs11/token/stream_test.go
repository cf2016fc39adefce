package token

import (
	"bytes"
	"crypto"
	"math/rand/v2"
	"sync"
	"testing"

	"signkit/pkcs11/wire"
)

// verifiesMessage checks a signature over the SHA-256 of data.
func verifiesMessage(key *fakeKey, signature, data []byte) bool {
	h := crypto.SHA256.New()
	h.Write(data)
	return verifies(key.Public(), false, crypto.SHA256, h.Sum(nil), signature)
}

// stream is an operation on a socket that is served.
type stream struct {
	*bench
	m       *module
	c       *conn
	session uint64
	key     uint64
}

func newStream(t *testing.T, mechanism uint64) *stream {
	t.Helper()
	s := &stream{bench: newBench(t)}
	s.m = connect(t, s.bench)
	s.c = s.m.dial()
	s.session = s.c.openUser()
	name := "demo/p256"
	if m, err := findMechanism(mechanism); err == nil && m.keyType == ckkRSA {
		name = "demo/rsa"
	}
	s.key = s.c.privateKey(s.session, name)
	s.c.signInit(s.session, s.key, mechanism)
	return s
}

func (s *stream) update(n uint64, part []byte) {
	s.c.t.Helper()
	if err := s.c.send(wire.SignUpdate, s.session, n, part); err != nil {
		s.c.t.Fatal(err)
	}
}

// refused reads the early answer.
func (s *stream) refused(want Error) {
	s.c.t.Helper()
	if r, err := s.c.receive(); err != nil || r.rv != want || len(r.payload) != 0 {
		s.c.t.Errorf("%v with %d bytes, %v; want %v", r.rv, len(r.payload), err, want)
	}
}

func (s *stream) nothingSigned() {
	s.c.t.Helper()
	for _, k := range s.source.keys {
		if n := k.signatures(); n != 0 {
			s.c.t.Errorf("%s was asked for %d signatures", k.id, n)
		}
	}
}

func TestUpdatesAreHashedInOrder(t *testing.T) {
	s := newStream(t, ckmECDSASHA256)
	var data []byte
	for i, size := range []int{0, 1, 3 * wire.Coalesce / 2, 4096, wire.Coalesce} {
		part := bytes.Repeat([]byte{byte(i)}, size)
		data = append(data, part...)
		s.update(uint64(i), part)
	}
	r := s.c.expect(ckrOK, wire.SignFinal, s.session, uint64(len(data)), nil)
	if !verifiesMessage(s.bench.key("demo/p256"), r.payload, data) {
		t.Error("the signature does not verify")
	}
	// The operation has ended, and the socket can be used again.
	s.c.expect(ckrOperationNotInitialized, wire.SignFinal, s.session, 0, nil)
	s.c.signInit(s.session, s.key, ckmECDSASHA256)
	s.c.expect(ckrOK, wire.SignCancel, s.session, 0, nil)
}

func TestNoUpdateSignsTheEmptyText(t *testing.T) {
	s := newStream(t, ckmECDSASHA256)
	r := s.c.expect(ckrOK, wire.SignFinal, s.session, 0, nil)
	if !verifiesMessage(s.bench.key("demo/p256"), r.payload, nil) {
		t.Error("the signature does not verify")
	}
}

// TestBrokenStreamIsRefused: one early answer, then silence, and the operation is gone.
func TestBrokenStreamIsRefused(t *testing.T) {
	for name, sequence := range map[string][]uint64{
		"does not begin at 0": {1}, "gap": {0, 2}, "repeated": {0, 0}, "backwards": {0, 1, 0}, "huge": {^uint64(0)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStream(t, ckmECDSASHA256)
			for _, n := range sequence {
				s.update(n, []byte("part"))
			}
			s.refused(ckrDeviceError)
			s.update(uint64(len(sequence)), []byte("what follows is dropped"))
			total := uint64(4 * len(sequence))
			s.c.expect(ckrOperationNotInitialized, wire.SignFinal, s.session, total, nil)
			s.nothingSigned()
		})
	}
}

// TestBrokenStreamOnAUsedSocket: a second operation on a socket that has had an
// early answer is refused as well, although the module would have closed it.
func TestBrokenStreamOnAUsedSocket(t *testing.T) {
	s := newStream(t, ckmECDSASHA256)
	s.update(5, []byte("part"))
	s.refused(ckrDeviceError)
	s.c.signInit(s.session, s.key, ckmECDSASHA256)
	s.update(0, []byte("first"))
	s.update(2, []byte("third"))
	s.refused(ckrDeviceError)
	if r := s.c.call(wire.SignFinal, s.session, uint64(len("first")), nil); r.rv == ckrOK {
		t.Error("a text without its second part was signed")
	}
	s.nothingSigned()
}

func TestWrongTotalIsRefused(t *testing.T) {
	for _, total := range []uint64{0, 3, 5, ^uint64(0)} {
		s := newStream(t, ckmECDSASHA256)
		s.update(0, []byte("part"))
		s.c.expect(ckrDeviceError, wire.SignFinal, s.session, total, nil)
		s.c.expect(ckrOperationNotInitialized, wire.SignFinal, s.session, 4, nil)
		s.nothingSigned()
	}
}

// TestUpdateOnAnotherSocket neither reaches the operation nor ends it.
func TestUpdateOnAnotherSocket(t *testing.T) {
	s := newStream(t, ckmECDSASHA256)
	other := s.m.dial()
	s.update(0, []byte("one"))
	if err := other.send(wire.SignUpdate, s.session, 1, []byte("two")); err != nil {
		t.Fatal(err)
	}
	if r, err := other.receive(); err != nil || r.rv != ckrOperationNotInitialized {
		t.Errorf("%v, %v", r.rv, err)
	}
	for _, call := range []uint32{wire.Sign, wire.SignFinal, wire.SignCancel} {
		other.expect(ckrOperationNotInitialized, call, s.session, 3, nil)
	}
	r := s.c.expect(ckrOK, wire.SignFinal, s.session, 3, nil)
	if !verifiesMessage(s.bench.key("demo/p256"), r.payload, []byte("one")) {
		t.Error("the signature does not verify")
	}
}

func TestUpdateWithoutOperation(t *testing.T) {
	s := newStream(t, ckmECDSASHA256)
	s.c.expect(ckrOK, wire.SignCancel, s.session, 0, nil)
	s.update(0, []byte("part"))
	s.refused(ckrOperationNotInitialized)
	s.nothingSigned()
}

func TestUpdateAfterTheEnd(t *testing.T) {
	s := newStream(t, ckmECDSASHA256)
	s.c.expect(ckrOK, wire.SignFinal, s.session, 0, nil)
	s.update(0, []byte("part"))
	s.refused(ckrOperationNotInitialized)
}

// TestUpdateForASinglePartMechanism: pkcs11-tool --test counts only this result as no error.
func TestUpdateForASinglePartMechanism(t *testing.T) {
	for _, mechanism := range []uint64{ckmECDSA, ckmRSAPKCS} {
		s := newStream(t, mechanism)
		s.update(0, []byte("part"))
		s.refused(ckrFunctionNotSupported)
		s.c.expect(ckrOperationNotInitialized, wire.Sign, s.session, 0, make([]byte, 32))
		s.nothingSigned()
	}
	s := newStream(t, ckmECDSA)
	s.c.expect(ckrFunctionNotSupported, wire.SignFinal, s.session, 0, nil)
	s.c.expect(ckrOperationNotInitialized, wire.Sign, s.session, 0, make([]byte, 32))
	s.nothingSigned()
}

// TestSignAfterUpdates does not sign its own data alone.
func TestSignAfterUpdates(t *testing.T) {
	s := newStream(t, ckmECDSASHA256)
	s.update(0, []byte("first"))
	s.c.expect(ckrOperationNotInitialized, wire.Sign, s.session, 0, []byte("second"))
	s.c.expect(ckrOperationNotInitialized, wire.SignFinal, s.session, 5, nil)
	s.nothingSigned()
}

func TestSessionClosedBetweenUpdates(t *testing.T) {
	s := newStream(t, ckmECDSASHA256)
	other := s.m.dial()
	s.update(0, []byte("one"))
	other.expect(ckrOK, wire.CloseSession, s.session, 0, nil)
	s.update(1, []byte("two"))
	s.refused(ckrSessionHandleInvalid)
	s.c.expect(ckrSessionHandleInvalid, wire.SignFinal, s.session, 6, nil)
	s.nothingSigned()
}

// TestLogoutBetweenUpdates ends the operation too: the next login may be another user's.
func TestLogoutBetweenUpdates(t *testing.T) {
	s := newStream(t, ckmECDSASHA256)
	other := s.m.dial()
	s.update(0, []byte("one"))
	other.expect(ckrOK, wire.Logout, s.session, 0, nil)
	other.expect(ckrOK, wire.Login, s.session, ckuUser, []byte("CONFIG"))
	s.update(1, []byte("two"))
	s.refused(ckrOperationNotInitialized)
	s.nothingSigned()
}

// TestSocketsThatCloseAtRandom: whatever the key is asked to sign is a whole text.
func TestSocketsThatCloseAtRandom(t *testing.T) {
	b := newBench(t)
	m := connect(t, b)
	keeper := m.dial()
	key := keeper.privateKey(keeper.openUser(), "demo/p256")
	const workers, rounds = 8, 25
	var group sync.WaitGroup
	var mu sync.Mutex
	signed := 0
	for worker := range workers {
		random := rand.New(rand.NewPCG(uint64(worker), 7))
		conns := make([]*conn, rounds)
		for i := range conns {
			conns[i] = m.dial()
		}
		group.Go(func() {
			for _, c := range conns {
				if randomStream(t, b.key("demo/p256"), c, key, random) {
					mu.Lock()
					signed++
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	if signed == 0 || signed == workers*rounds {
		t.Errorf("%d of %d texts were signed: the test tries one kind only", signed, workers*rounds)
	}
	if n := b.key("demo/p256").signatures(); n != signed {
		t.Errorf("%d signatures were asked for and %d received", n, signed)
	}
}

// randomStream sends a text in parts and may close the socket before or within
// any of them. It reports whether a signature came, which must be of the whole text.
func randomStream(t *testing.T, key *fakeKey, c *conn, handle uint64, random *rand.Rand) (signed bool) {
	defer c.close()
	open, err := c.roundTrip(wire.OpenSession, slotID, ckfSerialSession, nil)
	if err != nil || open.rv != ckrOK {
		t.Errorf("%v, %v", open.rv, err)
		return false
	}
	session := open.value
	if r, err := c.roundTrip(wire.SignInit, session, handle, number(ckmECDSASHA256)); err != nil || r.rv != ckrOK {
		t.Errorf("%v, %v", r.rv, err)
		return false
	}
	var stream, text []byte
	parts := random.IntN(6)
	for i := range parts {
		part := bytes.Repeat([]byte{byte(random.IntN(256))}, random.IntN(20000))
		text = append(text, part...)
		stream = append(stream, requestBytes(wire.SignUpdate, session, uint64(i), part)...)
	}
	stream = append(stream, requestBytes(wire.SignFinal, session, uint64(len(text)), nil)...)
	cut := random.IntN(2) == 0
	if cut {
		stream = stream[:random.IntN(len(stream))]
	}
	if _, err := c.file.Write(stream); err != nil {
		t.Error(err)
		return false
	}
	if cut {
		return false
	}
	r, err := c.receive()
	if err != nil || r.rv != ckrOK || !verifiesMessage(key, r.payload, text) {
		t.Errorf("%v, %v: no signature of the whole text", r.rv, err)
		return false
	}
	return true
}

// roundTrip is call for goroutines that must not end the test.
func (c *conn) roundTrip(call uint32, handle, n uint64, payload []byte) (reply, error) {
	if err := c.send(call, handle, n, payload); err != nil {
		return reply{}, err
	}
	return c.receive()
}
