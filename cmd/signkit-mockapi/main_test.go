package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// service is the program running in this process until stop.
type service struct {
	state, ready string
	stderr       *lockedBuffer
	stop         func() error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// onlyCurves keeps the background from making RSA keys.
const onlyCurves = `{"organizations":[{"name":"demo","id":"generate","users":[{"name":"ci","token":"generate"}],
 "certificates":[{"slug":"p-256","type":"X509","keyType":"Ecdsa","keySizeInBits":256}],
 "projects":[{"slug":"demo","policies":[{"slug":"p-256","submitters":["ci"]}]}]}]}`

func startService(t *testing.T, args ...string) *service {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.json")
	if err := os.WriteFile(config, []byte(onlyCurves), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &service{state: filepath.Join(dir, "state"), stderr: new(lockedBuffer)}
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0", "--state", s.state, "--config", config}, args...), in, s.stderr)
		in.CloseWithError(io.EOF)
		done <- err
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		cancel()
		t.Fatalf("no ready line: %v\n%s", <-done, s.stderr)
	}
	s.ready = strings.TrimSpace(line)
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { s.stop() })
	return s
}

func TestServeWritesItsFilesBeforeTheReadyLine(t *testing.T) {
	s := startService(t, "--host", "mock.example")
	for _, name := range []string{"env", "ca.pem", "signing-root.pem", "audit.jsonl"} {
		if _, err := os.Stat(filepath.Join(s.state, name)); err != nil {
			t.Error(err)
		}
	}
	env, err := os.ReadFile(filepath.Join(s.state, "env"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.ready, "ready https://mock.example:") || !strings.HasSuffix(s.ready, "/Api") {
		t.Errorf("ready line %q", s.ready)
	}
	for _, name := range []string{"SIGNPATH_API_URL='" + strings.TrimPrefix(s.ready, "ready ") + "'", "SIGNPATH_ORGANIZATION_ID='", "SIGNPATH_API_TOKEN='", "SIGNKIT_CA_FILE='" + s.state, "SIGNKIT_TSA_URL='https://"} {
		if !strings.Contains(string(env), "export "+name) {
			t.Errorf("env has no line export %s:\n%s", name, env)
		}
	}
	if err := s.stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	_, token, _ := strings.Cut(string(env), "SIGNPATH_API_TOKEN='")
	token, _, _ = strings.Cut(token, "'")
	if text := s.stderr.String(); !strings.Contains(text, "development and tests only") || strings.Contains(text, token) {
		t.Errorf("the banner must warn, and not show the token:\n%s", text)
	}
}

func TestHealthFollowsTheService(t *testing.T) {
	s := startService(t)
	health := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return run(ctx, []string{"health", "--state", s.state}, io.Discard, io.Discard)
	}
	if err := health(); err != nil {
		t.Errorf("while it serves: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	if err := health(); err == nil {
		t.Error("healthy after it stopped")
	}
}

func TestServeRefusesWhatCannotWork(t *testing.T) {
	for want, args := range map[string][]string{
		"--config":       {"--config", "/no/such/file"},
		"--plain-http":   {"--plain-http", "--listen", "0.0.0.0:0"},
		"--listen":       {"--listen", "nowhere"},
		"--state":        {"--state", "/dev/null/x"},
		"unknown":        {"extra"},
		"unknown flag: ": {"--no-such-flag"},
	} {
		args = append([]string{"serve", "--state", t.TempDir(), "--listen", "127.0.0.1:0"}, args...)
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want an error about %q, got %v", args, want, err)
		}
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	for command, flags := range map[string][]string{
		"serve": {"--listen ADDR:PORT", "--state DIR", "--config FILE", "--plain-http", "--host NAME"}, "health": {"--state DIR", "--timeout"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), []string{command, "--help"}, &out, io.Discard); err != nil {
			t.Errorf("%s --help: %v", command, err)
		}
		for _, flag := range flags {
			if !strings.Contains(out.String(), flag) {
				t.Errorf("%s --help does not say %s:\n%s", command, flag, out.String())
			}
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, io.Discard); err != nil || !strings.Contains(out.String(), "signkit-mockapi health") {
		t.Errorf("--help: %v\n%s", err, out.String())
	}
	for _, args := range [][]string{nil, {"sevre"}, {"-listen", "127.0.0.1:0"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "serve") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
