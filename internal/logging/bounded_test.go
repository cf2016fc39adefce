package logging

import (
	"bufio"
	"bytes"
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
	limit = 50 * time.Millisecond
	room  = 8192 // of the pipe: two pages, since a page that is begun counts as full
)

// pipe returns a writer to a small pipe and the pipe's two ends.
func pipe(t *testing.T) (w io.WriteCloser, read, write *os.File) {
	t.Helper()
	// Not os.Pipe: the write end must block, as standard error does.
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	read, write = os.NewFile(uintptr(fds[0]), "read"), os.NewFile(uintptr(fds[1]), "write")
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, room); err != nil {
		t.Fatal(err)
	}
	w = NewBoundedWriter(write, limit)
	t.Cleanup(func() {
		read.Close() // wakes a write that hangs
		w.Close()
		<-w.(*boundedWriter).ended
		write.Close()
	})
	return w, read, write
}

func TestBoundedWriterWritesBeforeItReturns(t *testing.T) {
	w, read, write := pipe(t)
	lines := bufio.NewReader(read)
	for _, want := range []string{"one\n", "two\n"} {
		if n, err := io.WriteString(w, want); n != len(want) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
		if ready, _ := unix.Poll([]unix.PollFd{{Fd: fdOf(t, read), Events: unix.POLLIN}}, 0); ready != 1 {
			t.Fatal("nothing was written when Write returned")
		}
		if got, _ := lines.ReadString('\n'); got != want {
			t.Errorf("got %q", got)
		}
	}
	if flags, err := unix.FcntlInt(uintptr(fdOf(t, write)), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
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
	w, read, write := pipe(t)
	if _, err := write.Write(make([]byte, room)); err != nil { // full
		t.Fatal(err)
	}
	start := time.Now()
	for range 100 {
		if n, err := w.Write([]byte("lost\n")); n != 5 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if took := time.Since(start); took > 20*limit {
		t.Errorf("100 records took %v: each waited", took)
	}
	if _, err := io.ReadFull(read, make([]byte, room)); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("back\n"))
	want := "signkit: warning: 100 console records dropped, because nobody read them\nback\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(read, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	w.Write([]byte("next\n"))
	if n, err := read.Read(got); err != nil || string(got[:n]) != "next\n" {
		t.Errorf("got %q, %v", got[:n], err)
	}
}

// A writer of another process may take the room between the look and the write: then
// the kernel blocks, and only the caller's own limit helps.
func TestBoundedWriterSurvivesAWriteThatHangs(t *testing.T) {
	w, read, write := pipe(t)
	b := w.(*boundedWriter)
	hanging := &message{data: nil, done: make(chan struct{}), taken: true}
	b.giveUp(hanging) // as after a time-out inside write(2)
	start := time.Now()
	w.Write([]byte("lost\n"))
	if took := time.Since(start); took > limit {
		t.Errorf("a record behind a hanging one took %v", took)
	}
	b.deliver(hanging) // write(2) returns
	w.Write([]byte("back\n"))
	write.Close()
	if got, _ := io.ReadAll(read); !strings.HasSuffix(string(got), "1 console records dropped, because nobody read them\nback\n") {
		t.Errorf("got %q", got)
	}
}

func TestBoundedWriterIgnoresAReaderThatIsGone(t *testing.T) {
	w, read, _ := pipe(t)
	read.Close()
	for range 3 {
		if n, err := w.Write([]byte("x\n")); n != 2 || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
}

func TestBoundedWriterKeepsLongRecordsWhole(t *testing.T) {
	w, read, write := pipe(t)
	var got bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&got, read)
	}()
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() { w.Write(append(bytes.Repeat([]byte("x"), 20000), '\n')) })
	}
	writers.Wait()
	w.Close()
	write.Close()
	<-done
	lines := strings.SplitAfter(got.String(), "\n")
	for _, line := range lines[:len(lines)-1] {
		if len(line) != 20001 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if len(lines) != 5 {
		t.Errorf("%d lines", len(lines)-1)
	}
}

func TestBoundedWriterAfterClose(t *testing.T) {
	w, read, write := pipe(t)
	w.Close()
	w.Close()
	if n, err := w.Write([]byte("x")); n != 1 || err != nil {
		t.Errorf("Write = %d, %v", n, err)
	}
	write.Close()
	if got, _ := io.ReadAll(read); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}
