package artifact

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// running reports whether a process has that word among its arguments.
func running(word string) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		if data, err := os.ReadFile(line); err == nil && strings.Contains(string(data), word) {
			return true
		}
	}
	return false
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// A tool has the token in its environment; nobody would end it.
func TestAToolDoesNotOutliveAKilledProcess(t *testing.T) {
	const variable = "SIGNKIT_TEST_TOOL_TIME"
	if seconds := os.Getenv(variable); seconds != "" {
		_, _ = run(t.Context(), os.Environ(), "/", "sleep", seconds)
		return
	}
	seconds := fmt.Sprintf("300.%d", time.Now().UnixNano())
	self := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$")
	self.Env = append(os.Environ(), variable+"="+seconds)
	if err := self.Start(); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the tool runs", func() bool { return running(seconds) })
	if err := self.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = self.Wait()
	waitUntil(t, "the tool has ended", func() bool { return !running(seconds) })
}
