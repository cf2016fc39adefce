package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"signkit/internal/caller"
	"signkit/pkcs11/wire"
)

// ErrHostGone means that the module closed the control socket, or its process ended.
var ErrHostGone = errors.New("the host process is gone")

// Control is the control socket: where the module announces itself and passes
// its data sockets on.
type Control struct {
	recvmsg func(packet, ancillary []byte) (n, an int, err error)
	peer    func() (*unix.Ucred, error)
	open    sockets
}

// OpenControl takes the control socket over. It fails for a descriptor that is
// none: the program was started by hand.
func OpenControl(fd int) (*Control, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, errors.New("this program is started by the PKCS#11 module, not by hand")
	}
	unix.CloseOnExec(fd)
	return &Control{
		recvmsg: func(packet, ancillary []byte) (n, an int, err error) {
			n, an, _, _, err = unix.Recvmsg(fd, packet, ancillary, unix.MSG_CMSG_CLOEXEC)
			return n, an, err
		},
		peer: func() (*unix.Ucred, error) { return unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED) },
	}, nil
}

// NewControl is for a module that has connected to an agent.
func NewControl(conn *net.UnixConn) *Control {
	return &Control{
		recvmsg: func(packet, ancillary []byte) (n, an int, err error) {
			n, an, _, _, err = conn.ReadMsgUnix(packet, ancillary)
			if errors.Is(err, io.EOF) {
				return 0, 0, nil
			}
			return n, an, err
		},
		peer: func() (*unix.Ucred, error) { return caller.Peer(conn) },
	}
}

// Peer is the host's process id: that of the process that made the socket. 0
// if it is in another PID namespace.
func (c *Control) Peer() int {
	peer, err := c.peer()
	if err != nil {
		return 0
	}
	return int(peer.Pid)
}

// receive reads one packet and the descriptor that came with it, or nil.
func (c *Control) receive(packet []byte) (n int, passed *os.File, err error) {
	ancillary := make([]byte, unix.CmsgSpace(4*4))
	for {
		var an int
		n, an, err = c.recvmsg(packet, ancillary)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, nil, fmt.Errorf("reading the control socket: %w", err)
		}
		if n == 0 {
			return 0, nil, ErrHostGone
		}
		return n, passedFile(ancillary[:an]), nil
	}
}

func passedFile(ancillary []byte) *os.File {
	var first *os.File
	messages, _ := unix.ParseSocketControlMessage(ancillary)
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			if first != nil {
				_ = unix.Close(fd)
				continue
			}
			first = os.NewFile(uintptr(fd), "passed")
		}
	}
	return first
}

// Greet reads the module's greeting. It returns what the host passed on, if it
// did: its standard output, or with an agent its standard error.
func (c *Control) Greet(buildID string) (passed *os.File, err error) {
	packet := make([]byte, wire.HelloSize+1)
	n, passed, err := c.receive(packet)
	if err != nil {
		return nil, err
	}
	return passed, wire.CheckHello(packet[:n], buildID)
}

// Serve answers calls until the host is gone, whose error it returns. A call under
// way may still be answered then.
func (c *Control) Serve(ctx context.Context, t *Token, buildID string) error {
	packet := make([]byte, 16)
	for {
		n, file, err := c.receive(packet)
		if err != nil {
			return err
		}
		if n == 1 && packet[0] == wire.DataSocket && file == nil {
			continue // no descriptor was free for it: the module sees that this one socket ended
		}
		if n != 1 || packet[0] != wire.DataSocket {
			return fmt.Errorf("%w: unknown packet on the control socket", wire.ErrMalformed)
		}
		c.open.serve(file, func(file *os.File) { newSocket(file, t).serve(ctx, buildID) })
	}
}

// End is for a process that goes on without this host: after Serve, it hangs up on all
// that is left, lets cancel end the calls under way, and waits for them.
func (c *Control) End(cancel func()) {
	c.open.shutdown()
	cancel()
	c.open.served.Wait()
}

// sockets are the data sockets of one module.
type sockets struct {
	served sync.WaitGroup
	mu     sync.Mutex
	files  map[*os.File]bool
}

// maxSockets is more data sockets than the module ever has at one time.
const maxSockets = 1100

func (s *sockets) serve(file *os.File, serve func(*os.File)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.files) >= maxSockets {
		_ = file.Close()
		return
	}
	poll := waiting.Add(1) > maxBlocking
	if poll {
		file = polled(file)
	}
	if s.files == nil {
		s.files = map[*os.File]bool{}
	}
	s.files[file] = true
	s.served.Go(func() {
		defer waiting.Add(-1)
		serve(file)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.files, file)
	})
}

// shutdown ends them all, also those in whose reads a thread waits.
func (s *sockets) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for file := range s.files {
		if raw, err := file.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		}
	}
}

// waiting counts the sockets of this process. The reads of the first maxBlocking block: a
// thread that waits in the kernel answers sooner than the runtime's poller. But it is a
// thread, and an agent may have thousands of sockets.
var waiting atomic.Int32

const maxBlocking = 64

// polled is a socket that waits in the runtime's poller; the file that it was is closed.
func polled(file *os.File) *os.File {
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil || unix.SetNonblock(fd, true) != nil {
		return file // closed: that is what the module sees
	}
	return os.NewFile(uintptr(fd), file.Name())
}

// socket is one data socket.
type socket struct {
	file   *os.File
	reader *reader
	token  *Token
	buffer []byte // of updates; made when the first comes

	write sync.Mutex
	begun *operation // C_SignInit came here; it may have ended
	dead  bool       // an update failed and was answered: drop the rest
}

func newSocket(file *os.File, t *Token) *socket {
	return &socket{file: file, reader: &reader{from: file}, token: t}
}

// serve ends with the socket, and ends the operation that was bound to it.
func (s *socket) serve(ctx context.Context, buildID string) {
	defer s.file.Close()
	defer s.abandon()
	if _, err := s.file.Write(wire.Hello(buildID)); err != nil {
		return
	}
	for {
		header, err := wire.ReadRequest(s.reader)
		if err != nil {
			return
		}
		if header.Call == wire.SignUpdate {
			err = s.update(header)
		} else {
			err = s.call(ctx, header)
		}
		if err != nil {
			return
		}
	}
}

func (s *socket) abandon() {
	if s.begun != nil {
		s.begun.end()
	}
}

func (s *socket) call(ctx context.Context, header wire.Request) error {
	payload := make([]byte, header.Length)
	if header.Call == wire.Login {
		defer clear(payload) // the PIN
	}
	if _, err := io.ReadFull(s.reader, payload); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := func() {}
	if call := findCall(header.Call); call != nil && call.waits {
		stop = s.announce(cancel)
	}
	r := &request{Request: header, ctx: ctx, payload: wire.NewReader(payload), socket: s}
	rv, res := s.token.handle(r)
	stop()
	if header.Call == wire.SignInit && rv == ckrOK {
		s.remember(header.Handle)
	}
	if rv != ckrOK && rv != ckrAttributeTypeInvalid && rv != ckrAttributeSensitive {
		res = result{}
	}
	return s.reply(wire.Answer, rv, res)
}

func (s *socket) remember(handle uint64) {
	if session, err := s.token.session(handle); err == nil {
		s.begun, _ = session.current(s)
		s.dead = false
	}
}

func (s *socket) reply(kind uint32, rv Error, res result) error {
	s.write.Lock()
	defer s.write.Unlock()
	_, err := s.file.Write(wire.AppendReply(nil, kind, uint64(rv), res.value, res.payload))
	return err
}

// hangUpInterval is how soon a hang-up of the module ends a call that waits.
const hangUpInterval = 250 * time.Millisecond

// announce tells the module regularly that the call goes on, and cancels it
// when the module hangs up. It does so until stop is called, which waits for it.
// Most calls end before the first time, so there is no goroutine until then.
func (s *socket) announce(cancel func()) (stop func()) {
	var mu sync.Mutex
	var timer *time.Timer
	ended, ticks := false, 0
	tick := func() {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return
		}
		if s.hungUp() {
			cancel()
		}
		if ticks++; ticks%int(wire.WorkingInterval*time.Millisecond/hangUpInterval) == 0 {
			_ = s.reply(wire.Working, ckrOK, result{})
		}
		timer.Reset(hangUpInterval)
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(hangUpInterval, tick)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
		timer.Stop()
	}
}

func (s *socket) hungUp() bool {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) { // file.Fd would make a polled one block
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(poll, 0)
		gone = err == nil && n > 0 && poll[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return gone || err != nil
}

// update hashes a part as it arrives. It has no answer; if it fails, the
// operation ends with one, and what follows on this socket is dropped.
func (s *socket) update(header wire.Request) error {
	var o *operation
	session, err := s.token.session(header.Handle)
	if err == nil {
		o, err = session.current(s)
	}
	if err == nil {
		err = o.expectUpdate(header.Number)
	}
	if readErr := s.readUpdate(header.Length, o, err == nil); readErr != nil {
		return readErr
	}
	if err == nil {
		return nil
	}
	if o != nil {
		o.end()
	}
	if s.dead {
		return nil
	}
	s.dead = true
	rv := returnValue(err)
	s.token.report(context.Background(), "C_SignUpdate", rv, err)
	return s.reply(wire.Answer, rv, result{})
}

func (s *socket) readUpdate(length uint32, o *operation, use bool) error {
	if s.buffer == nil {
		s.buffer = make([]byte, wire.Coalesce)
	}
	for left := int(length); left > 0; {
		n, err := s.reader.Read(s.buffer[:min(left, len(s.buffer))])
		if use {
			o.update(s.buffer[:n])
		}
		left -= n
		if err != nil {
			return err
		}
	}
	return nil
}
