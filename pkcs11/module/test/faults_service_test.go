package moduletest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"signkit/internal/mockapi"
)

// ownService is a service with the keys and identities of the shared one. It
// keeps its port while it is away: then connections are refused.
type ownService struct {
	options mockapi.Options
	server  *mockapi.Server
	env     []string
	port    int
	holder  int // a socket that is bound and does not listen
	silent  net.Listener
}

// startOwn brings the service of one trouble up, in dir.
func startOwn(dir string, t trouble) (*ownService, error) {
	state := filepath.Join(dir, "state")
	if err := os.CopyFS(state, os.DirFS(filepath.Join(shared.dir, unused))); err != nil {
		return nil, err
	}
	cfg, err := mockapi.LoadConfig(filepath.Join(shared.dir, "service.json"))
	if err != nil {
		return nil, err
	}
	options := mockapi.Options{StateDir: state, Config: cfg, Log: io.Discard, CertificateEnd: t.certificateEnd}
	s := &ownService{holder: -1, options: options}
	if err := s.hold(); err != nil {
		return s, err
	}
	if err := s.start(); err != nil {
		return s, errors.Join(err, s.close())
	}
	s.env = s.server.Environment()
	if t.fault.Kind != "" {
		err = s.server.SetFaults([]mockapi.Fault{t.fault})
	}
	if t.before != nil && err == nil {
		err = t.before(s)
	}
	if err != nil {
		return s, errors.Join(err, s.close())
	}
	return s, nil
}

// ownServiceFor is a service for one test, in a folder of that test.
func ownServiceFor(t *testing.T, faults ...mockapi.Fault) *ownService {
	t.Helper()
	s, err := startOwn(t.TempDir(), trouble{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.server.SetFaults(faults); err != nil {
		t.Fatal(err)
	}
	return s
}

// hold takes a port that nobody else is given.
func (s *ownService) hold() (err error) {
	s.holder, s.port, err = holdPort()
	s.options.Listen = fmt.Sprintf("127.0.0.1:%d", s.port)
	return err
}

// holdPort binds a port of this machine and does not listen there: nobody else is given it, and who is told its number may listen.
func holdPort() (holder, port int, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, err
	}
	// With this option on both, another socket may listen on the port.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var bound unix.Sockaddr
	if err == nil {
		bound, err = unix.Getsockname(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, 0, err
	}
	return fd, bound.(*unix.SockaddrInet4).Port, nil
}

func (s *ownService) start() error {
	return whenFree(func() (err error) {
		s.server, err = mockapi.Start(s.options)
		return err
	})
}

// whenFree tries again while the port is in use: a process that another attempt has forked, and that has not called exec
// yet, still has a copy of the listener that was closed.
func whenFree(listen func() error) error {
	for deadline := time.Now().Add(bound); ; time.Sleep(5 * time.Millisecond) {
		err := listen()
		if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(deadline) {
			return err
		}
	}
}

func (s *ownService) stop() error {
	if s.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := s.server.Close(ctx)
	s.server = nil
	return err
}

func (s *ownService) close() error {
	err := s.stop()
	if s.silent != nil {
		err = errors.Join(err, s.silent.Close())
	}
	if s.holder >= 0 {
		err = errors.Join(err, unix.Close(s.holder))
	}
	return err
}

func (s *ownService) environment() []string { return append([]string{}, s.env...) }

// disturb lets something happen while the tool runs. The result comes when it has happened.
func (s *ownService) disturb(during func(*ownService) error) <-chan error {
	ended := make(chan error, 1)
	if during == nil {
		ended <- nil
		return ended
	}
	go func() { ended <- during(s) }()
	return ended
}

// away is how long a restart takes.
const away = 5 * time.Second

func comeBack(s *ownService) error {
	time.Sleep(away)
	return s.start()
}

// restartWhileSigning stops the service when it has been asked for a signature and has not answered.
func restartWhileSigning(s *ownService) error {
	for deadline := time.Now().Add(bound); !asked(s.server, "/SignHash"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("nobody asks for a signature")
		}
	}
	if err := s.stop(); err != nil {
		return err
	}
	return comeBack(s)
}

func asked(s *mockapi.Server, path string) bool {
	for _, r := range s.Requests() {
		if strings.HasSuffix(r.Path, path) {
			return true
		}
	}
	return false
}

// mute makes the port take connections that nobody answers.
func mute(s *ownService) error {
	if err := s.stop(); err != nil {
		return err
	}
	return whenFree(func() (err error) {
		s.silent, err = net.Listen("tcp", s.options.Listen)
		return err
	})
}

// otherHost moves the service to an address that is not in its certificate.
func otherHost(s *ownService) error {
	if err := s.stop(); err != nil {
		return err
	}
	s.options.Hosts, s.options.Listen = []string{"localhost"}, fmt.Sprintf("127.0.0.2:%d", s.port)
	s.env = append(s.env, "SIGNPATH_API_URL=https://"+s.options.Listen+"/Api")
	return s.start()
}

func sha256Of(text string) []byte {
	digest := sha256.Sum256([]byte(text))
	return digest[:]
}
