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
)

// TestLimits: a host without memory, processes or descriptors to spare gets
// an answer, and lives.
func TestLimits(t *testing.T) {
	v := shared.variant[0]
	program := shared.program(t, "limits", "cc")
	tests := []struct {
		name  string
		codes []int // 0: it signs, 3: a return value says that it cannot
	}{
		{"memory", []int{3}},
		{"processes", []int{3}},
		{"two-at-start", []int{3}},
		{"two-later", []int{0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "processes" && os.Geteuid() != 0 {
				t.Skip("needs root to become a user without processes")
			}
			if test.name == "processes" {
				openTo(t, shared.dir)
			}
			got := shared.run(t, host{args: []string{program, v.module, "demo/p-256", test.name}})
			if got.code != test.codes[0] {
				t.Errorf("ended with %d, want %v; stderr:\n%s", got.code, test.codes, got.stderr)
			}
			if got.code == 3 && !strings.Contains(got.stderr, "signkit") && test.name != "memory" {
				t.Errorf("nothing says why: %q", got.stderr)
			}
		})
	}
}

// openTo lets other users read the folder of the tests.
func openTo(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestSignals(t *testing.T) {
	program := shared.program(t, "signals", "cc")
	shared.mustRun(t, host{args: []string{program, shared.variant[0].module, "demo/p-256"}}, "demo/p-256", "hello", 10)
}

// TestConsoleThatNobodyReads: a full pipe on standard error, or one without a
// reader, does not keep a tool from signing.
func TestConsoleThatNobodyReads(t *testing.T) {
	program := shared.program(t, "sign", "cc")
	for _, name := range []string{"full", "closed"} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if name == "full" {
				defer r.Close()
				fill(t, w)
			} else {
				r.Close()
			}
			ctx, cancel := context.WithTimeout(context.Background(), bound)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, shared.variant[0].module, "demo/p-256")
			var stdout bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, w
			cmd.Env = shared.environment(t, "SIGNPATH_LOG_CONSOLE_LEVEL=verbose")
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			if n := shared.verify(t, stdout.String(), "demo/p-256", "hello"); n != 2 {
				t.Errorf("%d signatures", n)
			}
		})
	}
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

// TestSecureExecution: a program with the rights of its file's owner must not
// take a token process, or anything else, from the environment of its caller.
func TestSecureExecution(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a set-user-id program")
	}
	program := shared.program(t, "cold", "cc")
	openTo(t, shared.dir)
	privileged := filepath.Join(shared.dir, "privileged")
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(privileged, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(privileged, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	proof := filepath.Join(shared.dir, "proof")
	evil := filepath.Join(shared.dir, "evil")
	if err := os.WriteFile(evil, []byte("#!/bin/sh\nid >"+proof+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(privileged, shared.variant[0].module, "demo/p-256")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Env = shared.environment(t, "SIGNKIT_TOKEND="+evil)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(proof); err == nil {
		t.Error("the caller's program ran with the owner's rights")
	}
	if _, err := os.Stat("/usr/lib/signkit/signkit-tokend"); err != nil && !strings.Contains(string(out), "/usr/lib/signkit/signkit-tokend") {
		t.Errorf("it looked elsewhere than in the compiled-in place: %s", out)
	}
}
