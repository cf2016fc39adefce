// Command relay stands between the module and its token process, for tests of
// what must not matter or must be refused: data sockets that are read late,
// and messages that are lost, repeated or changed on their way. The module
// starts it as its token process (SIGNKIT_TOKEND); it starts the real one.
//
// It does its mischief (SIGNKIT_TEST_MISCHIEF) once, to the first data socket
// that carries a third WIRE_SIGN_UPDATE. It makes the file SIGNKIT_TEST_REACHED
// when it waits, or when the token process has answered to the mischief; and it
// waits for the file SIGNKIT_TEST_PROCEED.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"signkit/pkcs11/wire"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "relay: %v\n", err)
		os.Exit(1)
	}
}

// relay is what all data sockets share.
type relay struct {
	mischief string
	begun    atomic.Bool
	control  int // the token process's control socket, our end
}

func run() error {
	r := &relay{mischief: os.Getenv("SIGNKIT_TEST_MISCHIEF")}
	if mischiefs[r.mischief] == nil {
		return fmt.Errorf("SIGNKIT_TEST_MISCHIEF is %q", r.mischief)
	}
	unix.CloseOnExec(wire.ControlFD)
	ours, theirs, err := pair(unix.SOCK_SEQPACKET)
	if err != nil {
		return err
	}
	r.control = int(ours.Fd())
	cmd := exec.Command(os.Getenv("SIGNKIT_TEST_TOKEND"))
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		return err
	}
	theirs.Close()
	err = r.serve()
	ours.Close()
	return errors.Join(err, cmd.Wait())
}

// serve hands the packets of the control socket on until the module is gone.
func (r *relay) serve() error {
	packet, ancillary := make([]byte, 256), make([]byte, unix.CmsgSpace(4))
	for {
		n, an, _, _, err := unix.Recvmsg(wire.ControlFD, packet, ancillary, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		fd, err := passed(ancillary[:an])
		if err != nil {
			return err
		}
		if n == 1 && packet[0] == wire.DataSocket && fd >= 0 {
			err = r.connect(os.NewFile(uintptr(fd), "module"))
		} else {
			err = r.pass(packet[:n], fd)
		}
		if err != nil {
			return err
		}
	}
}

// passed is the descriptor that came with a packet, or -1.
func passed(ancillary []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(ancillary)
	if err != nil || len(messages) == 0 {
		return -1, err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1, err
	}
	return fds[0], nil
}

// pass sends a packet to the token process, and closes fd here.
func (r *relay) pass(packet []byte, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
		defer unix.Close(fd)
	}
	return unix.Sendmsg(r.control, packet, rights, nil, 0)
}

// connect gives the token process a socket of ours for one of the module's.
func (r *relay) connect(module *os.File) error {
	ours, theirs, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	fd, err := unix.FcntlInt(theirs.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	theirs.Close()
	if err != nil {
		return err
	}
	s := &stream{relay: r, module: module, token: ours}
	go s.requests()
	go s.replies()
	return r.pass([]byte{wire.DataSocket}, fd)
}

func pair(kind int) (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs"), nil
}
