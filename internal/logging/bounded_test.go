package logging

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	never    = time.Hour              // a limit that no record reaches
	short    = 100 * time.Millisecond // one that a record reaches
	patience = time.Minute            // how long a test waits for what must happen

	room = 8192 // of the pipe: two pages, since a page that is begun counts as full
)

// console is a small pipe with a bounded writer at its end.
type console struct {
	*boundedWriter
	t           *testing.T
	read, write *os.File
	lines       *bufio.Reader
}

func newConsole(t *testing.T, limit time.Duration) *console {
	t.Helper()
	// Not os.Pipe: the write end must block, as standard error does. The read end must not, to have a deadline.
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	read, write := os.NewFile(uintptr(fds[0]), "read"), os.NewFile(uintptr(fds[1]), "write")
	if err := read.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, room); err != nil {
		t.Fatal(err)
	}
	c := &console{NewBoundedWriter(write, limit).(*boundedWriter), t, read, write, bufio.NewReader(read)}
	watchdog := time.AfterFunc(patience, func() {
		t.Errorf("a Write has not returned within %v", patience)
		read.Close() // wakes it
	})
	t.Cleanup(func() {
		watchdog.Stop()
		read.Close()
		if c.pending != nil {
			c.ended()
		}
		write.Close()
	})
	return c
}

// say writes one line, and requires that nothing is noticed by the caller.
func (c *console) say(line string) {
	c.t.Helper()
	if n, err := io.WriteString(c, line+"\n"); n != len(line)+1 || err != nil {
		c.t.Errorf("Write = %d, %v", n, err)
	}
}

// hears reads one line.
func (c *console) hears(want string) {
	c.t.Helper()
	if got, err := c.lines.ReadString('\n'); got != want+"\n" {
		c.t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// fill leaves no room, until drain.
func (c *console) fill() {
	c.t.Helper()
	if _, err := c.write.Write(make([]byte, room)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *console) drain() {
	c.t.Helper()
	if _, err := io.ReadFull(c.lines, make([]byte, room)); err != nil {
		c.t.Fatal(err)
	}
}

// ended waits until the write that hung has returned.
func (c *console) ended() {
	c.t.Helper()
	for begin := time.Now(); len(c.pending) == 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			c.t.Fatal("a write is still under way although its bytes were read")
		}
	}
}

func dropped(n int) string {
	return fmt.Sprintf("signkit: warning: %d console records dropped, because nobody read them", n)
}

func TestBoundedWriterWritesBeforeItReturns(t *testing.T) {
	c := newConsole(t, never)
	for _, line := range []string{"one", "two"} {
		c.say(line)
		if ready, err := unix.Poll([]unix.PollFd{{Fd: fdOf(t, c.read), Events: unix.POLLIN}}, 0); ready != 1 {
			t.Fatalf("nothing was written when Write returned (%v)", err)
		}
		c.hears(line)
	}
	if flags, err := unix.FcntlInt(uintptr(fdOf(t, c.write)), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags %x, %v: the file was made non-blocking", flags, err)
	}
}

func fdOf(t *testing.T, f *os.File) (n int32) {
	t.Helper()
	conn, err := f.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { n = int32(fd) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBoundedWriterDropsAndCountsWhenNobodyReads(t *testing.T) {
	c := newConsole(t, short)
	c.fill()
	c.say("late")
	c.limit = never
	for range 100 { // if one waited, the watchdog would end it
		c.say("lost")
	}
	c.drain()
	c.hears("late")
	c.ended()
	c.say("back")
	c.hears(dropped(100))
	c.hears("back")
	c.say("next")
	c.hears("next")
}

// What is dropped while the notice of earlier drops waits is told in the next one.
func TestBoundedWriterCountsDropsBehindANotice(t *testing.T) {
	c := newConsole(t, short)
	c.fill()
	c.say("late")
	c.say("lost")
	c.say("lost")
	c.drain()
	c.hears("late")
	c.ended()
	c.fill()
	c.say("with the notice")
	c.say("lost")
	c.say("lost")
	c.say("lost")
	c.drain()
	c.hears(dropped(2))
	c.hears("with the notice")
	c.ended()
	c.say("back")
	c.hears(dropped(3))
	c.hears("back")
}

// Each record of many writers is read or counted, however slowly they are read.
func TestBoundedWriterForgetsNoRecord(t *testing.T) {
	c := newConsole(t, time.Millisecond)
	const writers, each = 8, 200
	var running sync.WaitGroup
	for range writers {
		running.Go(func() {
			for range each {
				c.say(strings.Repeat("x", 200))
			}
		})
	}
	told := make(chan int, 1)
	go func() {
		sum := 0
		for {
			line, err := c.lines.ReadString('\n')
			if err != nil {
				told <- sum
				return
			}
			if n := 0; strings.HasPrefix(line, "signkit: warning: ") {
				fmt.Sscanf(line, "signkit: warning: %d", &n)
				sum += n
			} else {
				sum++
			}
			time.Sleep(10 * time.Microsecond)
		}
	}()
	running.Wait()
	if c.pending != nil {
		c.ended()
	}
	c.limit = never
	c.say("the last one") // with the count of those nobody was told of
	c.write.Close()
	if got := <-told; got != writers*each+1 {
		t.Errorf("%d of %d records were read or counted", got, writers*each+1)
	}
}

func TestBoundedWriterIgnoresAReaderThatIsGone(t *testing.T) {
	c := newConsole(t, never)
	c.read.Close()
	for range 3 {
		c.say("x")
	}
	if c.dropped != 3 {
		t.Errorf("%d records counted as dropped", c.dropped)
	}
}

func TestBoundedWriterKeepsLongRecordsWhole(t *testing.T) {
	c := newConsole(t, never)
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() { c.say(strings.Repeat("x", 20000)) })
	}
	for range 4 {
		c.hears(strings.Repeat("x", 20000))
	}
	writers.Wait()
	c.write.Close()
	if rest, err := io.ReadAll(c.lines); len(rest) > 0 || err != nil {
		t.Errorf("%d bytes more, %v", len(rest), err)
	}
}

// Another process may share the file's description and make it non-blocking.
func TestBoundedWriterWaitsOnANonBlockingConsole(t *testing.T) {
	c := newConsole(t, never)
	if err := syscall.SetNonblock(int(fdOf(t, c.write)), true); err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte("x"), 5*room)
	done := make(chan error, 1)
	go func() {
		_, err := c.Write(append(long, '\n'))
		done <- err
	}()
	c.hears(string(long))
	if err := <-done; err != nil {
		t.Error(err)
	}
	if c.dropped != 0 {
		t.Error("the record was counted as dropped")
	}
}

func TestBoundedWriterReportsNoClosedFile(t *testing.T) {
	c := newConsole(t, never)
	c.write.Close()
	c.say("x")
	if _, err := c.lines.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}
