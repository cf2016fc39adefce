package assuan

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSocketIsPrivate(t *testing.T) {
	socket, _ := startSocket(t, testServer())
	info, err := os.Stat(filepath.Dir(socket.Path()))
	if err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Errorf("folder %v, %v; want 0700", info.Mode(), err)
	}
}

func TestSocketServesManyAtATime(t *testing.T) {
	socket, _ := startSocket(t, testServer())
	first := dial(t, socket, "KEEP one\n")
	second := dial(t, socket, "KEEP two\nTELL\nBYE\n")
	if got, want := readAll(t, second), "OK test ready\nOK\nD two\nOK\nOK closing connection\n"; got != want {
		t.Errorf("second: %q, want %q", got, want)
	}
	if _, err := io.WriteString(first, "TELL\nBYE\n"); err != nil {
		t.Fatal(err)
	}
	if got, want := readAll(t, first), "OK test ready\nOK\nD one\nOK\nOK closing connection\n"; got != want {
		t.Errorf("first: %q, want %q", got, want)
	}
}

func TestSocketCancelsTheCommandOfAClientThatLeaves(t *testing.T) {
	started, ended := make(chan struct{}), make(chan error, 1)
	socket, _ := startSocket(t, testServer(waitCommand(started, ended)))
	conn := dial(t, socket, "WAIT\n")
	await(t, started)
	_ = conn.Close()
	if err := await(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the command's context ended with %v", err)
	}
}

func TestStopOnOneConnectionEndsAll(t *testing.T) {
	started, ended := make(chan struct{}), make(chan error, 1)
	socket, served := startSocket(t, testServer(waitCommand(started, ended)))
	waiting := dial(t, socket, "WAIT\n")
	await(t, started)
	stopping := dial(t, socket, "STOP\n")
	if got := readAll(t, stopping); got != "OK test ready\nOK\n" {
		t.Errorf("answers %q", got)
	}
	if err := await(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the other command's context ended with %v", err)
	}
	if err := await(t, served); !errors.Is(err, ErrStop) {
		t.Errorf("ServeSocket = %v, want ErrStop", err)
	}
	readAll(t, waiting) // ends, too
	if _, err := os.Stat(filepath.Dir(socket.Path())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestSocketRefusesOtherUsers(t *testing.T) {
	socket, err := Listen(shortDir(t))
	if err != nil {
		t.Fatal(err)
	}
	socket.uid++ // as if this server belonged to somebody else
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- testServer().ServeSocket(ctx, socket) }()
	// The server may close before or after the line arrives.
	conn := dial(t, socket, "")
	_, _ = io.WriteString(conn, "KEEP x\n")
	got, err := io.ReadAll(conn)
	if len(got) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("answers %q, %v; want none", got, err)
	}
	cancel()
	if err := await(t, served); !errors.Is(err, context.Canceled) {
		t.Errorf("ServeSocket = %v", err)
	}
}

func TestListenTakesTheFirstFolderThatFits(t *testing.T) {
	good := shortDir(t)
	long := filepath.Join(shortDir(t), strings.Repeat("x", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	socket, err := Listen(long, filepath.Join(good, "missing"), good)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if !strings.HasPrefix(socket.Path(), good+"/") {
		t.Errorf("socket at %s, want it in %s", socket.Path(), good)
	}
	left, err := os.ReadDir(long)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the other folder: %v, %v", left, err)
	}
}

func TestListenNamesWhatIsWrong(t *testing.T) {
	missing := filepath.Join(shortDir(t), "missing")
	if _, err := Listen(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("Listen = %v, want an error that names the folder", err)
	}
	if _, err := Listen(); err == nil {
		t.Error("Listen without folders succeeded")
	}
}

func TestListenRemovesWhatAKilledServerLeft(t *testing.T) {
	parent := shortDir(t)
	old := time.Now().Add(-time.Hour)
	age := func(s *Socket) {
		if err := os.Chtimes(s.directory, old, old); err != nil {
			t.Fatal(err)
		}
	}
	listen := func() *Socket {
		s, err := Listen(parent)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	killed, fresh, alive := listen(), listen(), listen()
	for _, s := range []*Socket{killed, fresh} {
		s.listener.SetUnlinkOnClose(false)
		_ = s.listener.Close()
	}
	age(killed)
	age(alive)
	listen()
	for name, test := range map[string]struct {
		socket *Socket
		stays  bool
	}{"killed": {killed, false}, "fresh": {fresh, true}, "alive": {alive, true}} {
		_, err := os.Stat(test.socket.Path())
		if stays := err == nil; stays != test.stays {
			t.Errorf("%s: is there: %v, want %v", name, stays, test.stays)
		}
	}
	if _, err := os.Stat(killed.directory); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the killed server's folder is still there: %v", err)
	}
}
