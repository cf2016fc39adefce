package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"signkit/internal/config"
	"signkit/internal/signpath"
	"signkit/internal/version"
	"signkit/pkcs11/token"
	"signkit/pkcs11/wire"
)

// serveTokens gives each module that connects a token of its own.
func (a *Agent) serveTokens(ctx context.Context, listener *net.UnixListener) error {
	return a.accept(ctx, listener, func(conn *net.UnixConn, pid int) {
		if err := a.serveToken(ctx, conn, pid); err != nil && ctx.Err() == nil {
			a.o.Logger.Debug("a module's connection ended", "pid", pid, "error", err)
		}
	})
}

// accept serves connections of users that may have them, until ctx ends; then it closes all and waits for what serves them.
func (a *Agent) accept(ctx context.Context, listener *net.UnixListener, serve func(*net.UnixConn, int)) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		conn, err := listener.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if conn != nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ECONNABORTED):
			a.o.Logger.Warn("a connection must wait", "error", err)
			pause(ctx)
			continue
		case err != nil:
			return err
		}
		pid, ok := a.serves(conn)
		if !ok {
			conn.Close()
			continue
		}
		connections.Go(func() {
			defer a.connected()()
			end := context.AfterFunc(ctx, func() { conn.Close() })
			defer end()
			defer conn.Close()
			serve(conn, pid)
		})
	}
}

// pause lets others give descriptors back.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(100 * time.Millisecond):
	}
}

func (a *Agent) serveToken(ctx context.Context, conn *net.UnixConn, pid int) error {
	control := token.NewControl(conn)
	// A module's greeting follows its connection at once.
	_ = conn.SetDeadline(time.Now().Add(a.o.Patience))
	stderr, err := control.Greet(version.Version)
	if errors.Is(err, token.ErrHostGone) {
		return nil
	}
	if stderr != nil {
		defer stderr.Close()
	}
	// Also where the versions differ: the module then says so where its person looks.
	if _, writeErr := conn.Write(wire.Hello(version.Version)); err != nil || writeErr != nil {
		return errors.Join(err, writeErr)
	}
	_ = conn.SetDeadline(time.Time{})
	logger := a.o.Logger
	if stderr != nil && a.o.Console != nil && isConsole(stderr) {
		logger = a.o.Console(stderr)
	}
	t := token.New(token.Options{Config: a.token, Logger: logger, SettingsOnly: true, Record: a.recorder(ctx),
		Connect: func(*config.Config) (token.Source, error) { return a.keys, nil }})
	// Where the agent ends, the connection does first, so that a call which may have signed is lost and not "cancelled".
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer control.End(cancel)
	if pid == 0 { // a module has one connection; clients of the other socket, which have many, take turns as one
		calls = signpath.WithProgram(calls, -a.nameless.Add(1))
	}
	if err := control.Serve(a.withCaller(calls, pid), t, version.Version); !errors.Is(err, token.ErrHostGone) {
		return err
	}
	return nil
}

// isConsole keeps out files in which a write of ours could do what their opener may not: those of the kernel.
func isConsole(file *os.File) bool {
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	plain := false
	_ = raw.Control(func(fd uintptr) {
		var status unix.Stat_t
		var system unix.Statfs_t
		if unix.Fstat(int(fd), &status) != nil {
			return
		}
		switch status.Mode & unix.S_IFMT {
		case unix.S_IFIFO, unix.S_IFSOCK:
			plain = true
		case unix.S_IFCHR:
			_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
			plain = err == nil
		case unix.S_IFREG:
			plain = unix.Fstatfs(int(fd), &system) == nil && !kernelFiles(int64(system.Type))
		}
	})
	return plain
}

func kernelFiles(system int64) bool {
	switch system {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC,
		unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.SELINUX_MAGIC, unix.SMACK_MAGIC, unix.BPF_FS_MAGIC, unix.EFIVARFS_MAGIC:
		return true
	}
	return false
}
