package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ToolError is a tool that failed.
type ToolError struct {
	Tool   string
	Cause  string // the line it printed that says why, or how it ended
	Output string // all of what it printed
	err    error
}

func (e *ToolError) Error() string { return e.Tool + ": " + e.Cause }
func (e *ToolError) Unwrap() error { return e.err }

// MissingToolError is a program that is not installed.
type MissingToolError struct {
	Tool    string
	Package string // where Debian and Ubuntu have it, RHEL's name in parentheses if it differs
}

func (e *MissingToolError) Error() string {
	return fmt.Sprintf("%s is not installed (package %s)", e.Tool, e.Package)
}

// packages of the tools this package runs.
var packages = map[string]string{
	"debsig-verify": "debsig-verify", "gpg": "gpg (gnupg2)", "gpgv": "gpgv (gnupg2)",
	"jarsigner": "openjdk-21-jdk-headless (java-21-openjdk-devel)", "openssl": "openssl", "osslsigncode": "osslsigncode",
	"rpm": "rpm", "rpmkeys": "rpm", "rpmsign": "rpm (rpm-sign)",
}

// withoutCredentials is an environment for tools that do not sign: without our own settings,
// some of which are secrets or name files that hold them.
func withoutCredentials(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		return strings.HasPrefix(variable, "SIGNPATH_") || strings.HasPrefix(variable, "SIGNKIT_")
	})
}

// TimeLimitError is the end of a tool that had not ended by itself. It is a context.DeadlineExceeded.
type TimeLimitError struct{ Limit time.Duration }

func (e *TimeLimitError) Error() string {
	return fmt.Sprintf("ended by force: it had not ended after %s (--timeout)", e.Limit)
}

func (e *TimeLimitError) Unwrap() error { return context.DeadlineExceeded }

// limited is a context that ends after limit with a *TimeLimitError; with 0 it does not.
func limited(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, limit, &TimeLimitError{limit})
}

// maxOutput bounds what is kept of a tool's output.
const maxOutput = 64 << 10

// run starts a tool without terminal and input and returns what it printed, both streams in
// one. The context's end kills the tool and what it started.
func run(ctx context.Context, environ []string, dir, tool string, args ...string) (string, error) {
	return pipe(ctx, nil, environ, dir, tool, args...)
}

// pipe is run for a tool that reads its input.
func pipe(ctx context.Context, stdin io.Reader, environ []string, dir, tool string, args ...string) (string, error) {
	path, err := exec.LookPath(tool)
	if err != nil {
		return "", &MissingToolError{Tool: tool, Package: packages[tool]}
	}
	var output tail
	command := exec.CommandContext(ctx, path, args...)
	command.Env = environ
	command.Dir = dir
	command.Stdin, command.Stdout, command.Stderr = stdin, &output, &output
	// A group of its own: rpmsign, debsigs and jarsigner start others. A tool may sign: it does not outlive
	// this process, even if that is killed. (The signal comes with the end of the thread that starts it. Go ends
	// threads only where a goroutine that is locked to one returns, and none is.)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = 5 * time.Second
	err = command.Run()
	text := output.String()
	if err == nil {
		return text, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return text, &ToolError{Tool: tool, Cause: causeOf(text, err), Output: text, err: err}
}

// causeOf is the line that says most: the cause in OpenSSL's error queue, else the last line.
func causeOf(text string, err error) string {
	var exit *exec.ExitError
	if cause := opensslCause(text); cause != "" && errors.As(err, &exit) {
		return cause
	}
	return lastLine(text, err)
}

// lastLine is the last one that the tool printed, or how the process ended.
func lastLine(text string, err error) string {
	var exit *exec.ExitError
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if last == "" || !errors.As(err, &exit) {
		return err.Error()
	}
	return last
}

// tail keeps the last maxOutput bytes.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	n, err := t.Buffer.Write(p)
	if excess := t.Len() - maxOutput; excess > 0 {
		t.Next(excess)
	}
	return n, err
}
