package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestListsOfNamesAreTakenApart(t *testing.T) {
	for list, want := range map[string][]string{
		"":                     nil,
		"\n\r\n\n":             nil,
		"\x00\x00":             nil,
		"a":                    {"a"},
		"a\nb c\n":             {"a", "b c"},
		"a\r\nb\r\n":           {"a", "b"},
		"a\r\nb\n\nc":          {"a", "b", "c"},
		" a \n":                {" a "},
		"a\r\r\n":              {"a\r"},
		"a\x00":                {"a"},
		"a\nb\r\x00\x00c\r\n":  {"a\nb\r", "c\r\n"},
		"\"a\\n\"\n-b\n#c\n":   {"\"a\\n\"", "-b", "#c"},
		"\xef\xbb\xbfa\nb\n":   {"\xef\xbb\xbfa", "b"},
		"\x00a\nb":             {"a\nb"},
		"dist/x.rpm\ndist/y\n": {"dist/x.rpm", "dist/y"},
	} {
		if got := splitNames(list); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}

// TestPlanAsksNobody: the service, the proxy and the time-stamp authority are places where a call would be seen.
func TestPlanAsksNobody(t *testing.T) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := "http://" + listener.Addr().String()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "setup.ps1"), []byte("Write-Host hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	environ := []string{
		"SIGNPATH_API_URL=" + address, "SIGNPATH_ORGANIZATION_ID=8f2a6c3e-5f37-4cf5-a3ee-6d0e2a3f9f10", "SIGNPATH_API_TOKEN=never-sent-anywhere",
		"SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=rsa-3072", "SIGNKIT_TSA_URL=" + address, "HTTPS_PROXY=" + address,
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // whoever calls waits for an answer
	defer cancel()
	for _, environ := range [][]string{environ, nil} {
		var stdout strings.Builder
		a := newApp(environ, dir, strings.NewReader("setup.ps1\n"), &stdout, io.Discard)
		root := newRootCommand(a)
		root.SetArgs([]string{"sign", "--plan", "--json", "--files-from", "-"})
		if err := root.ExecuteContext(ctx); err != nil {
			t.Error(err)
		}
		a.close()
		if err := checkDocument("sign-plan", []byte(stdout.String())); err != nil {
			t.Error(err)
		}
		if hasKey := strings.Contains(stdout.String(), `"key": "demo/rsa-3072"`); hasKey != (environ != nil) {
			t.Errorf("the plan is\n%s", &stdout)
		}
	}
	// A connection that was begun waits in the listener's queue.
	if err := listener.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if connection, err := listener.Accept(); err == nil {
		connection.Close()
		t.Error("somebody was called")
	}
}

// TestAPipeWithoutAWriterEndsWithTheCall: nobody opens its other end.
func TestAPipeWithoutAWriterEndsWithTheCall(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := newApp(nil, "/", nil, io.Discard, io.Discard)
	ended := make(chan error, 1)
	go func() {
		_, _, err := a.keepInput(ctx, pipe)
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("reading a pipe after the end: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("still waiting for a writer")
	}
	// Lets the reader go.
	if file, err := os.OpenFile(pipe, os.O_RDWR, 0); err != nil {
		t.Error(err)
	} else {
		file.Close()
	}
}

// TestOnlyWhatCannotBeReadTwiceIsCopied, with nothing left behind.
func TestOnlyWhatCannotBeReadTwiceIsCopied(t *testing.T) {
	dir, tmp := t.TempDir(), t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, []byte("file"), 0o644), unix.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	a := newApp([]string{"TMPDIR=" + tmp}, dir, nil, io.Discard, io.Discard)
	kept, remove, err := a.keepInput(t.Context(), "file")
	if kept != file || err != nil {
		t.Errorf("a file is kept at %s: %v", kept, err)
	}
	remove()
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(pipe, []byte("through"), 0) }()
	kept, remove, err = a.keepInput(t.Context(), "pipe")
	if err := errors.Join(err, <-wrote); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if data, err := os.ReadFile(kept); string(data) != "through" || err != nil {
			t.Errorf("the copy holds %q: %v", data, err)
		}
	}
	remove()
	if left, err := os.ReadDir(tmp); len(left) > 0 || err != nil {
		t.Errorf("%v stay behind: %v", left, err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	if _, _, err := a.keepInput(t.Context(), "missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
