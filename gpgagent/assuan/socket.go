package assuan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxPath is what fits into a socket address (unix(7)), without the final NUL.
	maxPath = 107
	// directoryPrefix names the folders that Listen makes.
	directoryPrefix = "signkit-scd-"
	socketName      = "S.scd"
	// abandoned is how old a folder must be before it counts as left by a server that was
	// killed: younger ones may be about to be used.
	abandoned = time.Minute
	// maxConnections bounds the clients at a time; further ones wait.
	maxConnections = 256
)

// Socket is a Unix socket in a folder of its own that only its owner can enter.
type Socket struct {
	listener  *net.UnixListener
	directory string
	uid       int // who may connect
	close     func() error
}

// Listen makes the socket in the first of the directories that can hold it: some
// have a path too long for an address, some are read-only or on a file system
// without sockets. It also removes what killed servers left there.
func Listen(directories ...string) (*Socket, error) {
	var problems []error
	for _, parent := range directories {
		removeAbandoned(parent)
		s, err := listenIn(parent)
		if err == nil {
			return s, nil
		}
		problems = append(problems, err)
	}
	return nil, fmt.Errorf("making a socket: %w", errors.Join(problems...))
}

func listenIn(parent string) (*Socket, error) {
	directory, err := os.MkdirTemp(parent, directoryPrefix+"*") // 0700
	if err != nil {
		return nil, err
	}
	path := filepath.Join(directory, socketName)
	if len(path) > maxPath {
		err = fmt.Errorf("%s is longer than the %d octets of a socket address", path, maxPath)
	}
	var listener *net.UnixListener
	if err == nil {
		listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	}
	if err != nil {
		_ = os.Remove(directory)
		return nil, err
	}
	s := &Socket{listener: listener, directory: directory, uid: os.Getuid()}
	s.close = sync.OnceValue(s.remove)
	return s, nil
}

// removeAbandoned removes folders whose socket nobody listens at.
func removeAbandoned(parent string) {
	found, _ := filepath.Glob(filepath.Join(parent, directoryPrefix+"*", socketName))
	for _, path := range found {
		directory := filepath.Dir(path)
		info, err := os.Lstat(directory)
		if err != nil || !info.IsDir() || !isOwn(info) || time.Since(info.ModTime()) < abandoned {
			continue
		}
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			_ = conn.Close()
			continue
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(path)
			_ = os.Remove(directory)
		}
	}
}

func isOwn(info os.FileInfo) bool {
	status, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(status.Uid) == os.Getuid()
}

// Path is the name to connect to.
func (s *Socket) Path() string { return filepath.Join(s.directory, socketName) }

// Close ends listening and removes the socket and its folder. Connections stay.
// It may be called again.
func (s *Socket) Close() error { return s.close() }

func (s *Socket) remove() error {
	err := s.listener.Close()
	if removed := os.Remove(s.directory); err == nil {
		err = removed
	}
	return err
}

// ServeSocket serves every connection until ctx ends, or a command says ErrStop on
// one of them (ErrStop). It closes the socket and all connections before it
// returns, and waits for their commands, whose context has ended.
func (s *Server[S]) ServeSocket(ctx context.Context, socket *Socket) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	var connections sync.WaitGroup
	room := make(chan struct{}, maxConnections)
	for {
		conn, err := socket.listener.AcceptUnix()
		if err == nil && ctx.Err() != nil {
			_ = conn.Close()
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			// No descriptors left, for example: some will come back.
			s.Log.Warn("accepting a connection failed", "error", err)
			pause(ctx, 100*time.Millisecond)
			continue
		}
		room <- struct{}{}
		connections.Go(func() {
			defer func() { <-room }()
			if err := s.serveConnection(ctx, socket.uid, conn); errors.Is(err, ErrStop) {
				stop(ErrStop)
			}
		})
	}
	connections.Wait()
	_ = socket.Close() // waits where it is being closed
	return context.Cause(ctx)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (s *Server[S]) serveConnection(ctx context.Context, uid int, conn *net.UnixConn) error {
	defer conn.Close()
	peer, err := peerUID(conn)
	if err == nil && peer != uid {
		err = fmt.Errorf("it belongs to the user with id %d, this server to %d", peer, uid)
	}
	if err != nil {
		s.Log.Warn("connection refused", "error", err)
		return nil
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	return s.Serve(ctx, conn, conn)
}

// peerUID asks the kernel who connected (unix(7), SO_PEERCRED).
func peerUID(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	var failure error
	err = raw.Control(func(fd uintptr) {
		credentials, failure = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, failure); err != nil {
		return 0, fmt.Errorf("asking who connected: %w", err)
	}
	return int(credentials.Uid), nil
}
