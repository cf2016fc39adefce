package moduletest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStartOfTheTokenProcess: nothing of its host is handed down to it but
// the socket, the console and what the allow-list names.
func TestStartOfTheTokenProcess(t *testing.T) {
	t.Parallel()
	report := filepath.Join(t.TempDir(), "report")
	program := shared.program(t, "report", "cc", `-DREPORT_FILE="`+report+`"`)
	for _, v := range shared.variant {
		t.Run(v.name, func(t *testing.T) {
			v.need(t)
			got := shared.run(t, host{args: []string{v.program(t, "hostile"), v.module, "demo/p-256"}, env: []string{"SIGNKIT_TOKEND=" + program}})
			if got.code != 0 {
				t.Fatalf("ended with %d: %s", got.code, got.stderr)
			}
			lines := readReport(t, report)
			want := []string{"arguments=1 signkit-tokend", "leader=1", "SigBlk=0000000000000000", "SigIgn=0000000000000000", "SigCgt=0000000000000000",
				"environment=SIGNKIT_DESCRIPTION", "environment=PATH", "descriptor=0 /dev/nu", "descriptor=1 /dev/nu", "descriptor=3 socket:"}
			for _, line := range want {
				if !slices.Contains(lines, line) {
					t.Errorf("no line %q in %q", line, lines)
				}
			}
			for _, line := range lines {
				name, value, _ := strings.Cut(line, "=")
				if name == "descriptor" && !strings.HasPrefix(value, "2 ") && !slices.Contains(want, line) {
					t.Errorf("handed down: %s", line)
				}
				if name == "environment" && value != "PATH" && !strings.HasPrefix(value, "SIGNPATH_") && !strings.HasPrefix(value, "SIGNKIT_") {
					t.Errorf("handed down: %s", line)
				}
			}
		})
	}
}

// readReport waits for the report and takes it away.
func readReport(t *testing.T, path string) []string {
	t.Helper()
	var data []byte
	eventually(t, "a report", func() (done bool) {
		var err error
		data, err = os.ReadFile(path)
		return err == nil
	})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// eventually polls until a deadline that no machine needs.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within a minute", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// TestEndOfTheTokenProcess: it ends with its host, however that ends, and even
// if a copy of the host still holds its sockets. What it had to log was in the
// file before the host got its answer.
func TestEndOfTheTokenProcess(t *testing.T) {
	t.Parallel()
	v := shared.variant[0]
	program := v.program(t, "ends")
	for _, how := range []string{"return", "_exit", "abort", "kill", "exec", "copy"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), bound)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, v.module, "demo/p-256", how)
			logs := t.TempDir()
			cmd.Env = shared.environment(t, "SIGNPATH_LOG_FILE_LEVEL=verbose", "SIGNPATH_LOG_FILE_DIRECTORY="+logs)
			input, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer input.Close()
			stderr, err := os.Create(filepath.Join(logs, "stderr")) // a pipe would last as long as the token process
			if err != nil {
				t.Fatal(err)
			}
			defer stderr.Close()
			var stdout bytes.Buffer
			cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, stderr, time.Minute
			err = cmd.Run()
			records, readErr := os.ReadFile(filepath.Join(logs, "SignPath.CryptoProviders.Cryptoki.txt"))
			if readErr != nil || !strings.Contains(string(records), " C_Sign result=CKR_OK\n") {
				t.Errorf("no record of the signature, %v:\n%s", readErr, records)
			}
			var token int
			at := strings.Index(stdout.String(), "token ")
			if at < 0 {
				said, _ := os.ReadFile(stderr.Name())
				t.Fatalf("%v: %s%s", err, stdout.String(), said)
			}
			if n, err := fmt.Sscanf(stdout.String()[at:], "token %d", &token); n != 1 || token == 0 {
				t.Fatalf("no token process: %v", err)
			}
			if found := shared.verify(t, stdout.String(), "demo/p-256", "hello"); found != 1 {
				t.Errorf("%d signatures", found)
			}
			eventually(t, "the end of the token process", func() bool { return !runs(token) })
		})
	}
}

// runs reports whether a token process has this number; a zombie does not run.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(stat, []byte("(signkit-tokend)")) && !bytes.Contains(stat, []byte(") Z "))
}
