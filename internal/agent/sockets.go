package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"signkit/internal/config"
	"signkit/internal/event"
)

// Sockets are the two sockets of an agent: one for PKCS#11 modules, and beside it one for clients of the
// service.
type Sockets struct {
	path   string
	folder string // ours, to be removed; "" where the path was given
	tokens *net.UnixListener
	rest   *net.UnixListener

	// Record gets what comes through these sockets, besides Options.Record: where an agent serves several pairs, it tells
	// for whom something was signed. nil: nobody does.
	Record event.Recorder
}

// maxPath is the longest path of a socket, without the NUL.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// ListenPrivate makes the sockets in a new folder that nobody else can enter.
func ListenPrivate() (*Sockets, error) {
	const name = "agent"
	var problems error
	for _, parent := range []string{os.TempDir(), "/tmp"} {
		folder, err := os.MkdirTemp(parent, "signkit-run-") // mode 0700
		if err != nil {
			problems = errors.Join(problems, err)
			continue
		}
		s, err := Listen(filepath.Join(folder, name), false)
		if err == nil {
			s.folder = folder
			return s, nil
		}
		problems = errors.Join(problems, err, os.Remove(folder))
	}
	return nil, fmt.Errorf("no place for the agent's socket: %w", problems)
}

// Listen makes the sockets at a path and beside it. Others, of which the kernel will say who they are, can
// connect only where that is wanted.
func Listen(path string, others bool) (*Sockets, error) {
	s := &Sockets{path: path}
	var err error
	if s.tokens, err = listen("unixpacket", path, others); err != nil {
		return nil, err
	}
	if s.rest, err = listen("unix", config.RESTSocket(path), others); err != nil {
		s.tokens.Close()
		return nil, err
	}
	return s, nil
}

func listen(network, path string, others bool) (*net.UnixListener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path of the socket %s is longer than %d bytes", path, maxPath)
	}
	if err := removeStale(network, path); err != nil {
		return nil, err
	}
	// The file gets the mode that its socket has (unix_bind in Linux). The umask is no way: it is that of all threads, and of
	// what they start.
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, failed)
	}}
	listener, err := private.Listen(context.Background(), network, path)
	if err != nil {
		return nil, err
	}
	if others {
		err = openToOthers(path)
	}
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("letting others use the socket %s: %w", path, err)
	}
	return listener.(*net.UnixListener), nil
}

// openToOthers changes the mode of a socket of ours, and of nothing that somebody has put in its place.
func openToOthers(path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var status unix.Stat_t
	if err := unix.Fstat(fd, &status); err != nil {
		return err
	}
	if status.Mode&unix.S_IFMT != unix.S_IFSOCK || int(status.Uid) != os.Geteuid() {
		return errors.New("something else is there now")
	}
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o666)
}

// removeStale removes a socket at which nobody listens any more: that of an agent that was killed.
func removeStale(network, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s exists and is no socket", path)
	}
	conn, err := net.DialTimeout(network, path, time.Second)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%s is in use: another agent listens there", path)
	}
	return os.Remove(path)
}

// Path is what SIGNKIT_AGENT is set to.
func (s *Sockets) Path() string { return s.path }

// Close removes the sockets, and the folder that was made for them.
func (s *Sockets) Close() error {
	for _, l := range []*net.UnixListener{s.tokens, s.rest} {
		l.Close() // which Serve may have done
	}
	if s.folder == "" {
		return nil
	}
	return os.RemoveAll(s.folder)
}
