package token

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"signkit/pkcs11/wire"
)

func TestServedTokenSigns(t *testing.T) {
	b := newBench(t)
	m := connect(t, b)
	c := m.dial()
	session := c.openUser()
	key := c.privateKey(session, "demo/rsa")
	init := c.expect(ckrOK, wire.SignInit, session, key, number(ckmSHA256RSAPKCS))
	if init.value != 256 || wire.NewReader(init.payload).Uint64() != wire.MultiPart {
		t.Errorf("the signature has %d bytes, flags %x", init.value, init.payload)
	}
	signature := c.expect(ckrOK, wire.Sign, session, 0, []byte(message)).payload
	if !verifiesMessage(b.key("demo/rsa"), signature, []byte(message)) {
		t.Error("the signature does not verify")
	}
	m.close()
	if err := m.end(); !errors.Is(err, ErrHostGone) {
		t.Errorf("ended with %v", err)
	}
}

// TestDataSocketsOutliveTheControlSocketsEnd: a call in flight may still be answered.
func TestDataSocketsOutliveTheControlSocketsEnd(t *testing.T) {
	b := newBench(t)
	m := connect(t, b)
	c := m.dial()
	m.close()
	if err := m.end(); !errors.Is(err, ErrHostGone) {
		t.Fatal(err)
	}
	c.expect(ckrOK, wire.GetSlotList, 0, 1, nil)
}

func TestControlSocketIsRequired(t *testing.T) {
	ours, theirs := socketPair(t, unix.SOCK_STREAM)
	defer unix.Close(ours)
	defer unix.Close(theirs)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, fd := range map[string]int{"stream socket": theirs, "file": int(null.Fd()), "closed": 1 << 20} {
		if _, err := OpenControl(fd); err == nil {
			t.Errorf("%s: taken as a control socket", name)
		}
	}
}

func TestPeerIsTheHost(t *testing.T) {
	ours, theirs := socketPair(t, unix.SOCK_SEQPACKET)
	defer unix.Close(ours)
	defer unix.Close(theirs)
	control, err := OpenControl(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if got := control.Peer(); got != os.Getpid() {
		t.Errorf("peer %d, want %d", got, os.Getpid())
	}
}

// TestBadGreetingEndsTheProcess with an error that says what differs.
func TestBadGreetingEndsTheProcess(t *testing.T) {
	change := func(at int, value byte) []byte {
		hello := wire.Hello(buildID)
		hello[at] = value
		return hello
	}
	for name, packet := range map[string][]byte{
		"short": wire.Hello(buildID)[:10], "long": append(wire.Hello(buildID), 0), "one byte": {wire.DataSocket},
		"magic": change(0, 0), "protocol": change(4, 99), "CK_ULONG": change(8, 4), "build": wire.Hello("another"),
	} {
		t.Run(name, func(t *testing.T) {
			m := serve(t, newBench(t))
			m.sendControl(packet, -1)
			if err := m.end(); err == nil || errors.Is(err, ErrHostGone) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestHostGoneBeforeTheGreeting(t *testing.T) {
	m := serve(t, newBench(t))
	m.close()
	if err := m.end(); !errors.Is(err, ErrHostGone) {
		t.Errorf("ended with %v", err)
	}
}

// TestGreetingPassesStandardOutput on, and closes further descriptors.
func TestGreetingPassesStandardOutput(t *testing.T) {
	ours, theirs := socketPair(t, unix.SOCK_SEQPACKET)
	defer unix.Close(ours)
	defer unix.Close(theirs)
	control, err := OpenControl(theirs)
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if err := read.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	fd := int(write.Fd())
	if err := unix.Sendmsg(ours, wire.Hello(buildID), unix.UnixRights(fd, fd), nil, 0); err != nil {
		t.Fatal(err)
	}
	write.Close()
	stdout, err := control.Greet(buildID)
	if err != nil || stdout == nil {
		t.Fatalf("%v, %v", stdout, err)
	}
	if _, err := stdout.WriteString("record"); err != nil {
		t.Error(err)
	}
	stdout.Close()
	// The end of file shows that the second copy is closed too.
	if got, err := io.ReadAll(read); string(got) != "record" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestUnknownControlPacketEndsTheProcess(t *testing.T) {
	for name, packet := range map[string][]byte{"unknown": {1}, "long": bytes.Repeat([]byte{wire.DataSocket}, 100)} {
		t.Run(name, func(t *testing.T) {
			m := connect(t, newBench(t))
			m.sendControl(packet, -1)
			if err := m.end(); !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// TestDataSocketThatDoesNotArrive: no descriptor was free for it, which is no reason to end.
func TestDataSocketThatDoesNotArrive(t *testing.T) {
	m := connect(t, newBench(t))
	m.sendControl([]byte{wire.DataSocket}, -1)
	m.dial().expect(ckrOK, wire.GetSlotList, 0, 1, nil)
}

// TestMalformedRequestClosesItsSocket and no other.
func TestMalformedRequestClosesItsSocket(t *testing.T) {
	header := func(call, length uint32) []byte {
		b := requestBytes(call, 0, 0, nil)
		binary.NativeEndian.PutUint32(b[4:], length)
		return b
	}
	for name, sent := range map[string][]byte{
		"nothing": nil, "half a header": header(wire.Sign, 0)[:11], "half a payload": append(header(wire.Sign, 100), 1, 2, 3),
		"half an update":    append(header(wire.SignUpdate, 100), 1, 2, 3),
		"oversized payload": header(wire.Sign, wire.MaxPayload+1), "oversized update": header(wire.SignUpdate, wire.MaxUpdate+1),
		"oversized unknown": header(99, ^uint32(0)),
	} {
		t.Run(name, func(t *testing.T) {
			m := connect(t, newBench(t))
			other, c := m.dial(), m.dial()
			if _, err := c.file.Write(sent); err != nil {
				t.Fatal(err)
			}
			if err := unix.Shutdown(int(c.file.Fd()), unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			c.ended()
			other.expect(ckrOK, wire.GetSlotList, 0, 1, nil)
		})
	}
}

func TestUnknownCallIsAnswered(t *testing.T) {
	c := connect(t, newBench(t)).dial()
	for _, call := range []uint32{0, 99, ^uint32(0)} {
		c.expect(ckrFunctionNotSupported, call, 1, 2, []byte("payload"))
	}
	c.expect(ckrOK, wire.GetSlotList, 0, 1, nil)
}

// TestRefusedCallHasNoPayload, but the attributes that are there come with the refusal of others.
func TestRefusedCallHasNoPayload(t *testing.T) {
	c := connect(t, newBench(t)).dial()
	if r := c.expect(ckrSlotIDInvalid, wire.GetTokenInfo, 7, 0, nil); len(r.payload) != 0 {
		t.Errorf("%d bytes", len(r.payload))
	}
	session := c.openUser()
	key := c.privateKey(session, "demo/p256")
	r := c.expect(ckrAttributeTypeInvalid, wire.GetAttributes, session, key, appendNumbers(nil, 0x999, ckaID))
	want := wire.AppendValue(wire.AppendUnavailable(nil), []byte("demo/p256"))
	if !bytes.Equal(r.payload, want) {
		t.Errorf("%x, want %x", r.payload, want)
	}
}

// TestLargeReplyStaysWithinTheProtocol: the module takes no payload beyond the limit.
func TestLargeReplyStaysWithinTheProtocol(t *testing.T) {
	c := connect(t, newBench(t)).dial()
	session := c.openUser()
	key := c.privateKey(session, "demo/rsa")
	types := appendNumbers(nil, ckaModulus)
	r := c.call(wire.GetAttributes, session, key, bytes.Repeat(types, wire.MaxPayload/8))
	if r.rv == ckrOK || len(r.payload) > wire.MaxPayload {
		t.Errorf("%v with %d bytes", r.rv, len(r.payload))
	}
	c.expect(ckrOK, wire.CheckSession, session, 0, nil)
}

// TestWorkingFramesAreSent while a call waits for the service, and none for a quick one.
func TestWorkingFramesAreSent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := connect(t, b).dial()
	session := c.openUser()
	c.signInit(session, c.privateKey(session, "demo/p256"), ckmECDSASHA256)
	if c.working != 0 {
		t.Errorf("%d working frames before anything waited", c.working)
	}
	release := b.key("demo/p256").hold()
	if err := c.send(wire.Sign, session, 0, []byte(message)); err != nil {
		t.Fatal(err)
	}
	var header [wire.ReplySize]byte
	if _, err := io.ReadFull(c.file, header[:]); err != nil {
		t.Fatal(err)
	}
	if kind, length := binary.NativeEndian.Uint32(header[:]), binary.NativeEndian.Uint32(header[4:]); kind != wire.Working || length != 0 {
		t.Errorf("the first reply is of kind %d with %d bytes", kind, length)
	}
	release()
	if r, err := c.receive(); err != nil || r.rv != ckrOK || len(r.payload) != 64 {
		t.Errorf("%v with %d bytes, %v", r.rv, len(r.payload), err)
	}
}

// TestHangUpCancelsTheCall: the module's process was killed, nobody wants the signature.
func TestHangUpCancelsTheCall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := connect(t, b)
	c, other := m.dial(), m.dial()
	session := c.openUser()
	key := c.privateKey(session, "demo/p256")
	c.signInit(session, key, ckmECDSASHA256)
	release := b.key("demo/p256").hold()
	defer release()
	if err := c.send(wire.Sign, session, 0, []byte(message)); err != nil {
		t.Fatal(err)
	}
	until(t, "the key is asked", func() bool { return b.key("demo/p256").signatures() == 1 })
	c.close()
	// The session takes another operation as soon as this one is cancelled.
	until(t, "the operation ends", func() bool {
		return other.call(wire.SignInit, session, key, number(ckmECDSASHA256)).rv == ckrOK
	})
	if n := m.log.errors(); n != 0 {
		t.Errorf("%d errors are shown for a call that its caller gave up:\n%s", n, m.log)
	}
}

func TestClosedSocketEndsItsOperation(t *testing.T) {
	b := newBench(t)
	m := connect(t, b)
	c, other := m.dial(), m.dial()
	session := c.openUser()
	key := c.privateKey(session, "demo/p256")
	c.signInit(session, key, ckmECDSASHA256)
	other.expect(ckrOperationActive, wire.SignInit, session, key, number(ckmECDSASHA256))
	c.close()
	until(t, "the operation ends", func() bool {
		return other.call(wire.SignInit, session, key, number(ckmECDSASHA256)).rv == ckrOK
	})
	if n := b.key("demo/p256").signatures(); n != 0 {
		t.Errorf("%d signatures", n)
	}
}

// TestSessionClosedDuringASignature: the waiting call says so, on its own socket.
func TestSessionClosedDuringASignature(t *testing.T) {
	for name, end := range map[string]struct {
		call uint32
		want Error
	}{
		"C_CloseSession":     {wire.CloseSession, ckrSessionClosed},
		"C_CloseAllSessions": {wire.CloseAllSessions, ckrSessionClosed},
		"C_Logout":           {wire.Logout, ckrUserNotLoggedIn},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			m := connect(t, b)
			c, other := m.dial(), m.dial()
			session := c.openUser()
			c.signInit(session, c.privateKey(session, "demo/p256"), ckmECDSASHA256)
			release := b.key("demo/p256").hold()
			defer release()
			if err := c.send(wire.Sign, session, 0, []byte(message)); err != nil {
				t.Fatal(err)
			}
			until(t, "the key is asked", func() bool { return b.key("demo/p256").signatures() == 1 })
			handle := session
			if end.call == wire.CloseAllSessions {
				handle = slotID
			}
			other.expect(ckrOK, end.call, handle, 0, nil)
			if r, err := c.receive(); err != nil || r.rv != end.want {
				t.Errorf("%v, %v; want %v", r.rv, err, end.want)
			}
		})
	}
}

// FuzzSocket sends arbitrary bytes to a data socket.
func FuzzSocket(f *testing.F) {
	f.Add(requestBytes(wire.OpenSession, slotID, ckfSerialSession, nil))
	f.Add(requestBytes(wire.SignUpdate, 1, 0, []byte("part")))
	f.Add(append(requestBytes(wire.GetSlotList, 0, 1, nil), requestBytes(wire.Login, 1, 1, []byte("CONFIG"))...))
	f.Fuzz(func(t *testing.T, sent []byte) {
		if len(sent) > 1<<16 {
			return // must fit into the socket's buffer with nobody reading
		}
		m := connect(t, newBench(t))
		c := m.dial()
		if _, err := c.file.Write(sent); err != nil {
			return // it was closed half-way
		}
		_ = unix.Shutdown(int(c.file.Fd()), unix.SHUT_WR)
		if _, err := io.Copy(io.Discard, c.file); err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Error(err)
		}
		m.close()
		_ = m.end()
	})
}
