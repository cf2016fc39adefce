package main

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"signkit/internal/process"
	"signkit/pkcs11/wire"
)

// detach makes this process harmless to its host and closed to others of the
// same user: no inherited descriptors, no signal from a terminal, no directory kept
// busy. It returns the directory in
// which the host was, for relative paths in settings.
func detach() (directory string) {
	closeInherited()
	process.Protect()
	signal.Ignore(syscall.SIGPIPE, syscall.SIGTTOU, syscall.SIGTTIN, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	directory, err := os.Getwd()
	if err != nil {
		directory = "/"
	}
	_ = os.Chdir("/")
	return directory
}

// closeInherited closes what the host had open, on kernels where the module
// could not: what Go opened is close-on-exec, what was inherited is not. Where
// close_range is known (the range here is empty), the module has done it.
func closeInherited() {
	if unix.CloseRange(^uint(0), ^uint(0), 0) == nil {
		return
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd <= wire.ControlFD {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}

// watchHost ends this process when its host has ended, even if a child of the
// host still holds the control socket. Without the call (kernels before 5.3)
// or the id (another PID namespace) the end of the socket must do.
func watchHost(pid int) {
	if pid <= 0 {
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		os.Exit(0)
	}
	if err != nil {
		return
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if n > 0 {
			os.Exit(0)
		}
		if err != nil && err != unix.EINTR {
			return
		}
	}
}
