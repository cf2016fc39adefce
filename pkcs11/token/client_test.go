package token

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"signkit/pkcs11/wire"
)

const buildID = "test"

// patience bounds every wait; a test that reaches it has failed.
const patience = time.Minute

// records is a log that can be read while it is written.
type records struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// errors counts the records that a person must see.
func (r *records) errors() int { return strings.Count(r.String(), "level=ERROR") }

// record sends the bench's log to records, with everything for debugging.
func (b *bench) record(t testing.TB) *records {
	r := new(records)
	t.Cleanup(func() {
		if strings.Contains(r.String(), apiToken[:12]) {
			t.Error("the log shows the token")
		}
	})
	b.Token.log = slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return r
}

// module is the other end of the control socket: what lifecycle.c and pool.c are.
type module struct {
	t      testing.TB
	fd     int
	log    *records
	served chan error
}

func socketPair(t testing.TB, kind int) (ours, theirs int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return pair[0], pair[1]
}

// connect serves the token on a socket, as signkit-tokend does, and greets it.
func connect(t testing.TB, b *bench) *module {
	t.Helper()
	m := serve(t, b)
	m.sendControl(wire.Hello(buildID), -1)
	return m
}

// serve does the same without the greeting.
func serve(t testing.TB, b *bench) *module {
	t.Helper()
	log := b.record(t)
	ours, theirs := socketPair(t, unix.SOCK_SEQPACKET)
	control, err := OpenControl(theirs)
	if err != nil {
		t.Fatal(err)
	}
	m := &module{t: t, log: log, fd: ours, served: make(chan error, 1)}
	go func() {
		defer unix.Close(theirs)
		_, err := control.Greet(buildID)
		if err == nil {
			err = control.Serve(context.WithoutCancel(t.Context()), b.Token, buildID)
		}
		m.served <- err
	}()
	t.Cleanup(m.close)
	return m
}

func (m *module) close() {
	if m.fd >= 0 {
		_ = unix.Close(m.fd)
		m.fd = -1
	}
}

// end waits until the token process would end, and returns why.
func (m *module) end() error {
	m.t.Helper()
	return await(m.t, m.served)
}

func (m *module) sendControl(packet []byte, passed int) {
	m.t.Helper()
	var rights []byte
	if passed >= 0 {
		rights = unix.UnixRights(passed)
	}
	if err := unix.Sendmsg(m.fd, packet, rights, nil, unix.MSG_NOSIGNAL); err != nil {
		m.t.Fatal(err)
	}
}

// conn is one data socket.
type conn struct {
	t       testing.TB
	file    *os.File
	working int // replies of kind Working that were read
}

// dial passes a data socket on and reads the greeting there.
func (m *module) dial() *conn {
	m.t.Helper()
	ours, theirs := socketPair(m.t, unix.SOCK_STREAM)
	m.sendControl([]byte{wire.DataSocket}, theirs)
	_ = unix.Close(theirs)
	limit := unix.NsecToTimeval(int64(patience))
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(ours, unix.SOL_SOCKET, option, &limit); err != nil {
			m.t.Fatal(err)
		}
	}
	c := &conn{t: m.t, file: os.NewFile(uintptr(ours), "data socket")}
	m.t.Cleanup(c.close)
	hello := make([]byte, wire.HelloSize)
	if _, err := io.ReadFull(c.file, hello); err != nil {
		m.t.Fatal(err)
	}
	if err := wire.CheckHello(hello, buildID); err != nil {
		m.t.Fatal(err)
	}
	return c
}

func (c *conn) close() { _ = c.file.Close() }

func requestBytes(call uint32, handle, n uint64, payload []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, call)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(payload)))
	b = wire.AppendUint64s(b, handle, n)
	return append(b, payload...)
}

// reply is one answer of the token.
type reply struct {
	rv      Error
	value   uint64
	payload []byte
}

func (c *conn) send(call uint32, handle, n uint64, payload []byte) error {
	_, err := c.file.Write(requestBytes(call, handle, n, payload))
	return err
}

// receive reads up to the answer.
func (c *conn) receive() (reply, error) {
	for {
		var header [wire.ReplySize]byte
		if _, err := io.ReadFull(c.file, header[:]); err != nil {
			return reply{}, err
		}
		payload := make([]byte, binary.NativeEndian.Uint32(header[4:]))
		if _, err := io.ReadFull(c.file, payload); err != nil {
			return reply{}, err
		}
		if binary.NativeEndian.Uint32(header[:]) == wire.Working {
			c.working++
			continue
		}
		return reply{Error(binary.NativeEndian.Uint64(header[8:])), binary.NativeEndian.Uint64(header[16:]), payload}, nil
	}
}

// call is a round trip that must not break.
func (c *conn) call(call uint32, handle, n uint64, payload []byte) reply {
	c.t.Helper()
	if err := c.send(call, handle, n, payload); err != nil {
		c.t.Fatal(err)
	}
	r, err := c.receive()
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// expect is a round trip with a known result.
func (c *conn) expect(rv Error, call uint32, handle, n uint64, payload []byte) reply {
	c.t.Helper()
	r := c.call(call, handle, n, payload)
	if r.rv != rv {
		c.t.Fatalf("%s: %v, want %v", calls[call].name, r.rv, rv)
	}
	return r
}

// openUser opens a session and logs in.
func (c *conn) openUser() (session uint64) {
	c.t.Helper()
	session = c.expect(ckrOK, wire.OpenSession, slotID, ckfSerialSession, nil).value
	c.expect(ckrOK, wire.Login, session, ckuUser, []byte("CONFIG"))
	return session
}

func encodeTemplate(template []wire.Attribute) (payload []byte) {
	for _, a := range template {
		payload = wire.AppendValue(wire.AppendUint64s(payload, a.Type), a.Value)
	}
	return payload
}

// privateKey is the handle of a private key.
func (c *conn) privateKey(session uint64, key string) uint64 {
	c.t.Helper()
	template := searchByName(key)
	c.expect(ckrOK, wire.FindInit, session, uint64(len(template)), encodeTemplate(template))
	found := wire.NewReader(c.expect(ckrOK, wire.Find, session, 2, nil).payload)
	c.expect(ckrOK, wire.FindFinal, session, 0, nil)
	if found.Len() != 8 {
		c.t.Fatalf("%d bytes of handles for %s", found.Len(), key)
	}
	return found.Uint64()
}

// signInit begins an operation on this socket.
func (c *conn) signInit(session, key, mechanism uint64) {
	c.t.Helper()
	c.expect(ckrOK, wire.SignInit, session, key, number(mechanism))
}

// ended waits until the token closes the socket.
func (c *conn) ended() {
	c.t.Helper()
	if _, err := c.receive(); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		c.t.Errorf("the socket is not closed: %v", err)
	}
}

// signatures is how often the key was asked to sign.
func (k *fakeKey) signatures() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.signed
}

// await waits for a value.
func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came within %s", patience)
		panic("not reached")
	}
}

// hold makes the key's signatures wait until release is called.
func (k *fakeKey) hold() (release func()) {
	wait := make(chan struct{})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wait = wait
	return func() { close(wait) }
}

// until waits for a condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}
