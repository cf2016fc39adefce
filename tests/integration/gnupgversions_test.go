package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// bridgeTests are those of cmd/signkit-scdaemon that have gpg sign: many at a time, with an agent or a bridge that is killed,
// with a service that is away or refuses, with wrong settings.
const bridgeTests = `^Test(GPG|ParallelGPG|TwoGPG|Kill|AgentThat|Outage|Service|BrokenConfiguration|SettingsFile)`

// bridgeTestProgram is built as the bridge itself is, so that it runs with every C library.
var bridgeTestProgram = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	compiler, err := exec.CommandContext(ctx, filepath.Join(root, "scripts", "zig.sh")).Output()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "signkit-bridge-tests-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "bridge.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-tags", "netgo,osusergo", "-o", program, "./cmd/signkit-scdaemon")
	build.Dir, build.Stderr = root, os.Stderr
	build.Env = append(os.Environ(), "CGO_ENABLED=1", "CC="+strings.TrimSpace(string(compiler)))
	return program, build.Run()
})

// TestBridgeWithEveryGnuPG runs the bridge's own tests with the gpg of every image: releases of GnuPG differ in when they start a
// card daemon, notice its end, and connect to it.
func TestBridgeWithEveryGnuPG(t *testing.T) {
	s := need(t)
	program, err := bridgeTestProgram()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(program)) })
	for _, i := range s.images {
		t.Run(i.Name, func(t *testing.T) {
			s.report.note(t, outcome{Scenario: "gpg-bridge", Image: i.Name, User: users[1].name})
			got := s.run(t, container{
				image: i.tag("gpg"), user: users[1], binds: []string{program + ":/bridge.test:ro"}, once: true, limit: 4 * commandLimit,
				env: []string{"SIGNKIT_NO_SKIP=1"}, command: []string{"sh", "-c", "cd /tmp && /bridge.test -test.v -test.run '" + bridgeTests + "'"},
			})
			passed := strings.Count(got.stdout, "\n--- PASS: ")
			if got.code != 0 || strings.Contains(got.stdout, "--- SKIP: ") || passed < 15 {
				t.Errorf("ended with %d, %d tests passed", got.code, passed)
			}
		})
	}
}
