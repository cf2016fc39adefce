package moduletest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLimits: a host without memory, threads, processes or descriptors to
// spare gets an answer, and lives.
func TestLimits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		code       int // 0: it signs, 3: a return value says that it cannot
		signatures int
		says       string
	}{
		{"memory", 3, 0, "within the limit of 64 MiB of address space (ulimit -v)"},
		{"memory-before-greeting", 3, 0, "within the limit of 64 MiB of address space (ulimit -v)"},
		{"processes", 3, 0, "signkit: cannot start the token process"},
		{"no-processes", 3, 0, "signkit: cannot start the token process"},
		{"no-threads", 3, 0, "failed to create new OS thread"}, // says the token process
		{"two-at-start", 3, 0, "signkit: cannot"},
		{"two-later", 0, 1, ""},
		{"operations", 0, 5, ""},
	}
	for _, v := range shared.variant {
		for _, test := range tests {
			t.Run(v.name+"/"+test.name, func(t *testing.T) {
				v.need(t)
				t.Parallel()
				if test.name == "processes" {
					if os.Geteuid() != 0 {
						t.Skip("needs root to become a user without processes")
					}
					openTo(t, shared.dir)
				}
				got := shared.run(t, host{args: []string{v.program(t, "limits"), v.module, "demo/p-256", test.name}})
				if got.code == 77 {
					t.Skip(strings.TrimSpace(got.stderr))
				}
				if got.code != test.code || !strings.Contains(got.stderr, test.says) {
					t.Errorf("ended with %d, want %d and %q; stderr:\n%s", got.code, test.code, test.says, got.stderr)
				}
				if n := shared.verify(t, got.stdout, "demo/p-256", "hello"); n != test.signatures {
					t.Errorf("%d signatures, want %d", n, test.signatures)
				}
			})
		}
	}
}

// openTo lets other users read the folder of the tests.
func openTo(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestConsoleThatNobodyReads: a full pipe on standard error, or one without a
// reader, does not keep a tool from signing, nor from learning that it cannot.
func TestConsoleThatNobodyReads(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, program, env string
		code, signatures   int
	}{
		{"the log", "sign", "SIGNPATH_LOG_CONSOLE_LEVEL=verbose", 0, 2},
		{"the module's own line", "cold", "SIGNKIT_TOKEND=/nonexistent/tokend", 3, 0},
	}
	for _, test := range tests {
		for _, pipe := range []string{"full", "closed"} {
			t.Run(test.name+"/"+pipe, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), bound)
				defer cancel()
				cmd := exec.CommandContext(ctx, shared.program(t, test.program, "cc"), shared.variant[0].module, "demo/p-256")
				var stdout bytes.Buffer
				cmd.Stdout, cmd.Stderr, cmd.Env = &stdout, unread(t, pipe == "full"), shared.environment(t, test.env)
				cmd.WaitDelay = time.Minute
				if err := cmd.Run(); cmd.ProcessState.ExitCode() != test.code {
					t.Errorf("%v, want %d", err, test.code)
				}
				if n := shared.verify(t, stdout.String(), "demo/p-256", "hello"); n != test.signatures {
					t.Errorf("%d signatures", n)
				}
			})
		}
	}
}

// unread is a pipe that nobody reads: full, or without a reader.
func unread(t *testing.T, full bool) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	if !full {
		r.Close()
		return w
	}
	t.Cleanup(func() { r.Close() })
	fill(t, w)
	return w
}

func fill(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd())
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := syscall.Write(fd, make([]byte, 4096)); err != nil {
			break
		}
	}
	for {
		if _, err := syscall.Write(fd, []byte{0}); err != nil {
			break
		}
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}

// TestSecureExecution: a program with the rights of its file's owner must take
// nothing from the environment of its caller: neither a token process nor
// settings. It starts the one in the place that was compiled in.
func TestSecureExecution(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a set-user-id program")
	}
	t.Parallel()
	openTo(t, shared.dir)
	dir := filepath.Join(shared.dir, "secure")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	module, report := filepath.Join(dir, "module.so"), filepath.Join(dir, "report")
	if err := command("../../../scripts/build-module.sh", "--output", module, "--library-dir", dir); err != nil {
		t.Fatal(err)
	}
	copyFile(t, shared.program(t, "report", "cc", `-DREPORT_FILE="`+report+`"`), filepath.Join(dir, "signkit-tokend"), 0o755)
	evil, privileged := filepath.Join(dir, "evil"), filepath.Join(dir, "privileged")
	copyFile(t, shared.program(t, "report", "cc", `-DREPORT_FILE="`+evil+`.proof"`), evil, 0o755)
	copyFile(t, shared.program(t, "cold", "cc"), privileged, 0o755|os.ModeSetuid)

	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, privileged, module, "demo/p-256")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Env = shared.environment(t, "SIGNKIT_TOKEND="+evil)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != 4 {
		t.Fatalf("ended with %d: %s", code, out)
	}
	for _, line := range readReport(t, report) {
		if strings.HasPrefix(line, "environment=") {
			t.Errorf("handed down: %s", line)
		}
	}
	if _, err := os.Stat(evil + ".proof"); err == nil {
		t.Error("the caller's program ran with the owner's rights")
	}
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, mode.Perm()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, mode); err != nil {
		t.Fatal(err)
	}
}
