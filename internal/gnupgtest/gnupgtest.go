// Package gnupgtest runs tests of GnuPG on a machine where the user has a folder in /run/user, as after a login, and on
// one where there is none. GnuPG puts the sockets of every home into that folder, or else into the home. It is for tests.
package gnupgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	variable  = "SIGNKIT_TEST_RUN_USER" // says to the test program that it is the one in the namespaces, and of which machine
	with      = "with"
	without   = "without"
	refused   = 77              // exit code: the namespaces are there, and what is mounted in them is forbidden
	whole     = 5 * time.Minute // for all tests of one machine
	vanishing = time.Minute     // for processes that were told to end
)

// InRunUser runs tests of this package once more on each of the two machines. Each is made of namespaces, in which no process and
// no folder for sockets may be left when the tests have ended. pattern is as of go test's -run.
func InRunUser(t *testing.T, pattern string) {
	t.Helper()
	if os.Getenv(variable) != "" {
		t.Skip("this is what it runs")
	}
	for _, machine := range []string{with, without} {
		t.Run(machine, func(t *testing.T) {
			t.Parallel()
			again(t, machine, pattern)
		})
	}
}

func again(t *testing.T, machine, pattern string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	limit := whole
	if end, ok := t.Deadline(); ok {
		limit = min(limit, time.Until(end)*9/10) // so that it says where it hangs before this program is ended
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.v", "-test.run="+pattern, "-test.timeout="+(limit*9/10).String())
	cmd.Env = append(os.Environ(), variable+"="+machine)
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL):
		t.Skipf("namespaces cannot be made here (run as root, or allow user namespaces): %v", err)
	case errors.As(err, &exit) && exit.ExitCode() == refused:
		t.Skipf("nothing can be mounted in a namespace here (run as root): %s", out)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP: "):
		t.Skipf("a test was skipped:\n%s", out)
	case !strings.Contains(string(out), "--- PASS: "):
		t.Fatalf("nothing was tested:\n%s", out)
	}
}

// M is for TestMain of packages that call InRunUser: os.Exit(gnupgtest.M{M: m}.Run()).
type M struct{ *testing.M }

// Run is m.Run; in the namespaces it makes the machine before and looks for what is left after it.
func (m M) Run() int {
	machine := os.Getenv(variable)
	if machine == "" {
		return m.M.Run()
	}
	if err := mount(machine == with); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return refused
	}
	code := m.M.Run()
	if left := leftFolders(); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "FAIL: left in /run/user:", left)
		code = max(code, 1)
	}
	if left := leftProcesses(); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "FAIL: left running:", left)
		code = max(code, 1)
	}
	return code
}

func mount(folder bool) error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE}, {"proc", "/proc", "proc", 0}, {"run", "/run", "tmpfs", 0},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	if !folder {
		return nil
	}
	own := filepath.Join("/run/user", strconv.Itoa(os.Getuid()))
	return errors.Join(os.Mkdir("/run/user", 0o755), os.Mkdir(own, 0o700))
}

func leftFolders() []string {
	left, _ := filepath.Glob("/run/user/*/gnupg/d.*")
	return left
}

// leftProcesses waits until none is left but this one.
func leftProcesses() []string {
	deadline := time.Now().Add(vanishing)
	for {
		left := Processes("")
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Processes are the command lines of all processes whose GNUPGHOME it is; of all processes but this one if it is "".
func Processes(home string) []string {
	var found []string
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		line, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil || len(line) == 0 || filepath.Base(folder) == strconv.Itoa(os.Getpid()) {
			continue // it has ended, or is this one
		}
		environ, _ := os.ReadFile(filepath.Join(folder, "environ"))
		if home == "" || slices.Contains(strings.Split(string(environ), "\x00"), "GNUPGHOME="+home) {
			found = append(found, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")))
		}
	}
	return found
}
