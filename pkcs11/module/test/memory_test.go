package moduletest

import (
	"os/exec"
	"strings"
	"testing"
)

// checked are the hosts that run under checkers of memory and undefined
// behaviour: args and number of signatures as in hosts.
var checked = []struct {
	program    string
	args       []string
	signatures int
	slow       bool // where a program is interpreted
}{
	{program: "sign", signatures: 2},
	{program: "rules", signatures: 3},
	{program: "locking", signatures: 8, slow: true},
	{program: "stream", args: []string{"60000"}, signatures: 2},
	{program: "fork_after", signatures: 7},
	{program: "fork_in_handler", signatures: 3},
	{program: "raw_clone", args: []string{"clone", "new"}, signatures: 3, slow: true},
	{program: "raw_clone", args: []string{"namespace", "old"}, signatures: 5},
	{program: "own_handlers", signatures: 2, slow: true},
	{program: "cancelled", signatures: 1},
	{program: "descriptors", signatures: 2},
	{program: "lost", args: []string{"kill"}, signatures: 1},
	{program: "threads", signatures: 128},
	{program: "overdue", signatures: 1},
}

// TestOverdueCalls: C_Finalize and a new start do not wait for ever for a
// thread that does not return, and what it holds is freed when it does.
func TestOverdueCalls(t *testing.T) {
	t.Parallel()
	v := shared.variant[0].with(t, impatientStop)
	shared.mustRun(t, host{args: []string{v.program(t, "overdue"), v.module, "demo/p-256"}}, "demo/p-256", "hello", 1)
}

// valgrind runs a host under one of its tools.
func valgrind(t *testing.T, options ...string) host {
	t.Helper()
	if _, err := exec.LookPath("valgrind"); err != nil {
		t.Skip("there is no valgrind")
	}
	return host{prefix: append([]string{"valgrind", "-q", "--error-exitcode=99"}, options...)}
}

func TestValgrind(t *testing.T) {
	t.Parallel()
	run := valgrind(t, "--leak-check=full", "--errors-for-leak-kinds=definite")
	runChecked(t, run, true, impatientStop)
}

// TestHelgrind looks for data races. (ThreadSanitizer loses count of locks in
// a program that shares its memory with a clone.)
func TestHelgrind(t *testing.T) {
	t.Parallel()
	run, v := valgrind(t, "--tool=helgrind"), shared.variant[0]
	run.args = []string{v.program(t, "threads"), v.module, "demo/p-256"}
	shared.mustRun(t, run, "demo/p-256", "hello", 128)
}

func TestAddressAndUndefinedBehaviourSanitizer(t *testing.T) {
	t.Parallel()
	run := host{env: []string{"ASAN_OPTIONS=detect_leaks=0"}} // valgrind looks for leaks
	runChecked(t, run, false, sanitized...)
}

// sanitized is for a module that is built with the checks of the compiler.
var sanitized = []string{impatientStop, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"}

func runChecked(t *testing.T, run host, interpreted bool, flags ...string) {
	t.Helper()
	for _, c := range checked {
		if c.slow && interpreted {
			continue
		}
		t.Run(strings.Join(append([]string{c.program}, c.args...), " "), func(t *testing.T) {
			t.Parallel()
			v := shared.variant[0].with(t, flags...)
			h, text := run, "hello"
			if c.program == "stream" {
				text = strings.Repeat(text, 60000)
			}
			h.args = append([]string{v.program(t, c.program), v.module, "demo/p-256"}, c.args...)
			shared.mustRun(t, h, "demo/p-256", text, c.signatures)
		})
	}
}
