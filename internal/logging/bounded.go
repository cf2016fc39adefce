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

// NewBoundedWriter returns a writer to a console that may have no reader, or one that
// never reads. One Write is one record. It never fails, and returns when the console has
// taken the record, at the latest after the limit. Until a record that was not taken in
// time is, further ones are dropped at once; the next that gets through is preceded by a
// line that says how many.
//
// The file's mode is not changed: its description is shared with other processes, which
// would not expect O_NONBLOCK there. The file stays open.
func NewBoundedWriter(file *os.File, limit time.Duration) io.Writer {
	return &boundedWriter{file: file, limit: limit}
}

type boundedWriter struct {
	file  *os.File
	limit time.Duration

	mu      sync.Mutex
	pending <-chan error // the end of the write under way; nil: there is none
	told    int          // dropped records that this write tells of
	dropped int          // records that nobody has been told of
}

func (b *boundedWriter) Write(p []byte) (int, error) {
	limit := time.NewTimer(b.limit)
	defer limit.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case err := <-b.pending:
		b.settle(err)
	default:
	}
	if b.pending != nil {
		b.dropped++
		return len(p), nil
	}
	b.start(p)
	select {
	case err := <-b.pending:
		b.settle(err)
	case <-limit.C:
	}
	return len(p), nil
}

// start writes in a goroutine, which stays in the kernel while nobody reads.
func (b *boundedWriter) start(p []byte) {
	var data []byte
	if b.dropped > 0 {
		data = fmt.Appendf(data, "signkit: warning: %d console records dropped, because nobody read them\n", b.dropped)
	}
	data = append(data, p...)
	ended := make(chan error, 1)
	go func() { ended <- writeAll(b.file, data) }()
	b.pending, b.told = ended, b.dropped
}

func (b *boundedWriter) settle(err error) {
	b.pending = nil
	if err != nil {
		b.dropped++ // with those it was to tell of
		return
	}
	b.dropped -= b.told // others may have been dropped meanwhile
}

// writeAll uses the descriptor itself: os.File.Write ends the process on EPIPE at
// descriptors 1 and 2.
func writeAll(file *os.File, data []byte) (err error) {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	control := conn.Control(func(fd uintptr) {
		for err == nil && len(data) > 0 {
			// Another process may have made the file non-blocking.
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
			var n int
			n, err = unix.Write(int(fd), data)
			data = data[max(n, 0):]
			if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
				err = nil
			}
		}
	})
	return errors.Join(err, control)
}
