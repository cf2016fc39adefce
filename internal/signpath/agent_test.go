package signpath

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"signkit/internal/config"
)

// agentSocket is the path for SIGNKIT_AGENT, short enough for a socket.
func agentSocket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sa")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "agent")
}

func agentClient(t *testing.T, path string) *Client {
	t.Helper()
	cfg, err := config.Load([]string{"SIGNKIT_AGENT=" + path, "SIGNPATH_ORGANIZATION_ID=01234567-89ab-cdef-0123-456789abcdef",
		"SIGNPATH_API_TOKEN=a-token-of-somebody", "SIGNPATH_API_URL=https://signing.invalid/Api", "http_proxy=http://u:secret@127.0.0.1:1"}, "/")
	if err != nil {
		t.Fatal(err)
	}
	client, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// TestAnAgentGetsNoCredentials, also where there are some, and what it refuses is not asked for again.
func TestAnAgentGetsNoCredentials(t *testing.T) {
	path := agentSocket(t)
	listener, err := net.Listen("unix", config.RESTSocket(path))
	if err != nil {
		t.Fatal(err)
	}
	requests := make(chan *http.Request, 10)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"title":"gave up after 11 attempts"}`))
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	client := agentClient(t, path)
	_, err = client.Policies(t.Context(), Filter{})
	if err == nil || !strings.Contains(err.Error(), "gave up after 11 attempts") {
		t.Errorf("the error is %v", err)
	}
	if n := len(requests); n != 1 {
		t.Fatalf("%d requests", n)
	}
	for name, values := range (<-requests).Header {
		if text := strings.Join(values, " "); name == "Authorization" || strings.Contains(text, "token") || strings.Contains(text, "secret") {
			t.Errorf("it gets the header %s", name)
		}
	}
}

// TestAnAgentOfAnotherUserIsNotAsked: nothing of the request reaches it.
func TestAnAgentOfAnotherUserIsNotAsked(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	path := agentSocket(t)
	listening := make(chan error, 1)
	accepted := make(chan int, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, whose user is another one, ends with this goroutine
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		err = errors.Join(err, unix.Bind(fd, &unix.SockaddrUnix{Name: config.RESTSocket(path)}))
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 54321, 54321, 54321); errno != 0 {
			err = errors.Join(err, errno)
		}
		listening <- errors.Join(err, unix.Listen(fd, 8))
		conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			accepted <- -1
			return
		}
		n, _ := unix.Read(conn, make([]byte, 100))
		accepted <- n
		_, _ = unix.Close(conn), unix.Close(fd)
	}()
	if err := <-listening; err != nil {
		t.Fatal(err)
	}
	_, err := agentClient(t, path).Policies(t.Context(), Filter{})
	if !errors.Is(err, errForeignAgent) || !strings.Contains(err.Error(), "54321") {
		t.Errorf("the error is %v", err)
	}
	if n := <-accepted; n != 0 {
		t.Errorf("it was sent %d bytes", n)
	}
}

// TestNoAgentIsAFailureAtOnce: what is not there is not waited for.
func TestNoAgentIsAFailureAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := agentClient(t, agentSocket(t)).Policies(ctx, Filter{})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "check SIGNKIT_AGENT") {
		t.Errorf("the error is %v", err)
	}
}
