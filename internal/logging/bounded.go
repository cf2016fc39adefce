package logging

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// queued bounds the records that wait for the console.
const queued = 64

// NewBoundedWriter returns a writer to a console that may have no reader, or one that
// never reads: Write returns within the limit, with the bytes written or dropped, and
// never with an error. After a first time-out, records are dropped at once until there
// is room again; the record that gets through then is preceded by a line that says how many
// were dropped. One Write is one record.
//
// The file's mode is not changed: its description is shared with other processes, which
// would not expect O_NONBLOCK there. Close ends the writer's goroutine within the limit
// and leaves the file open.
func NewBoundedWriter(w *os.File, limit time.Duration) io.WriteCloser {
	b := &boundedWriter{file: w, limit: limit, queue: make(chan *message, queued),
		closing: make(chan struct{}), ended: make(chan struct{})}
	go b.run()
	return b
}

type boundedWriter struct {
	file    *os.File
	limit   time.Duration
	queue   chan *message
	closing chan struct{}
	ended   chan struct{}
	once    sync.Once

	mu      sync.Mutex
	blocked *message // being written for longer than the limit
	dropped int      // since the last success
	stalled bool     // the last record did not get through: do not wait for the next
	torn    bool     // a record was written in part
}

// message is one record on its way. Its fields below the first three belong to the
// writer's mutex.
type message struct {
	data     []byte
	deadline time.Time
	done     chan struct{}

	taken, abandoned, finished bool
}

// Write queues the record and waits until it is written or the limit has passed.
func (b *boundedWriter) Write(p []byte) (int, error) {
	m := &message{data: append([]byte(nil), p...), deadline: time.Now().Add(b.limit), done: make(chan struct{})}
	if !b.accepts() {
		return len(p), nil
	}
	timer := time.NewTimer(b.limit)
	defer timer.Stop()
	select {
	case b.queue <- m:
	case <-timer.C:
		b.drop()
		return len(p), nil
	}
	select {
	case <-m.done:
	case <-b.ended:
	case <-timer.C:
		b.giveUp(m)
	}
	return len(p), nil
}

// accepts reports whether trying makes sense, and counts the record as dropped if not.
func (b *boundedWriter) accepts() bool {
	select {
	case <-b.closing:
		return false
	default:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blocked != nil {
		b.dropped++
		return false
	}
	return true
}

func (b *boundedWriter) drop() {
	b.mu.Lock()
	b.dropped++
	b.mu.Unlock()
}

// giveUp leaves a record behind: in the queue it is dropped, in the kernel it may still
// arrive, and no other is tried before it.
func (b *boundedWriter) giveUp(m *message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case m.finished:
	case m.taken:
		b.blocked = m
	default:
		m.abandoned = true
		b.dropped++
	}
}

// Close stops the goroutine. A write that hangs in the kernel is left there.
func (b *boundedWriter) Close() error {
	b.once.Do(func() { close(b.closing) })
	timer := time.NewTimer(b.limit)
	defer timer.Stop()
	select {
	case <-b.ended:
	case <-timer.C:
	}
	return nil
}

func (b *boundedWriter) run() {
	defer close(b.ended)
	for {
		select {
		case m := <-b.queue:
			b.deliver(m)
		case <-b.closing:
			return
		}
	}
}

// deliver writes one record and records the outcome.
func (b *boundedWriter) deliver(m *message) {
	b.mu.Lock()
	m.taken = true
	skip, data, deadline := m.abandoned, b.withNotice(m.data), m.deadline
	if b.stalled {
		deadline = time.Time{}
	}
	b.mu.Unlock()
	if skip {
		return
	}
	n, err := b.writeAll(data, deadline)
	b.mu.Lock()
	m.finished, b.blocked = true, nil
	b.stalled = err != nil
	if err != nil {
		b.dropped++
		b.torn = b.torn || n > 0
	} else {
		b.dropped, b.torn = 0, false
	}
	b.mu.Unlock()
	close(m.done)
}

// withNotice puts what was lost before the record.
func (b *boundedWriter) withNotice(data []byte) []byte {
	notice := ""
	if b.torn {
		notice = "\n"
	}
	if b.dropped > 0 {
		notice += fmt.Sprintf("signkit: warning: %d console records dropped, because nobody read them\n", b.dropped)
	}
	return append([]byte(notice), data...)
}

var errNoRoom = errors.New("no room before the deadline")

// pipeBuf is what a pipe takes as a whole (PIPE_BUF, pipe(7)) once poll says that it is
// writable.
const pipeBuf = 4096

// writeAll uses the descriptor itself: os.File.Write ends the process on EPIPE at
// descriptors 1 and 2.
func (b *boundedWriter) writeAll(data []byte, deadline time.Time) (written int, err error) {
	conn, err := b.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	control := conn.Control(func(fd uintptr) {
		for err == nil && written < len(data) {
			var n int
			n, err = writeSome(int(fd), data[written:min(len(data), written+pipeBuf)], deadline)
			written += n
		}
	})
	return written, errors.Join(err, control)
}

// writeSome waits until there is room, then writes once.
func writeSome(fd int, data []byte, deadline time.Time) (int, error) {
	wait := max(0, time.Until(deadline))
	if deadline.IsZero() {
		wait = 0
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	ready, err := unix.Poll(fds, int(wait.Milliseconds()))
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if ready == 0 {
		return 0, errNoRoom
	}
	n, err := unix.Write(fd, data)
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return max(n, 0), nil
	}
	return max(n, 0), err
}
