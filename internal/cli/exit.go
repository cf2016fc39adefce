package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"signkit/internal/key"
)

// Exit codes. They are stable: scripts rely on them. `signkit help exit-codes` prints them.
const (
	exitOK            = 0   // everything that was asked for was done
	exitFailed        = 1   // it failed, for a reason without a number of its own
	exitUsage         = 2   // wrong call
	exitSettings      = 3   // settings are missing or invalid
	exitRefused       = 4   // the service refused
	exitUnavailable   = 5   // the service could not be reached or is out of order
	exitUnverified    = 6   // a signature does not verify
	exitIncomplete    = 7   // of several files or checks, some failed
	exitMissingTool   = 8   // a program that is needed is not installed
	exitNotCompared   = 9   // signed by somebody, and nobody was named who should have signed
	exitNotExecutable = 126 // run: the command cannot be started
	exitNotFound      = 127 // run: there is no such command
	exitInterrupted   = 130 // ended by a signal
)

func exitCodes() [][]string {
	row := func(code int, meaning string) []string { return []string{fmt.Sprint(code), meaning} }
	return [][]string{
		row(exitOK, "everything that was requested was done"),
		row(exitFailed, "it failed for a reason without a code of its own"),
		row(exitUsage, "wrong call: unknown flag, missing argument"),
		row(exitSettings, "settings are missing or invalid"),
		row(exitRefused, "the service refused: token, permission, unknown policy; a retry will not help"),
		row(exitUnavailable, "the service could not be reached or is down; a retry may help"),
		row(exitUnverified, "a signature does not verify; nothing of it was kept"),
		row(exitIncomplete, "some of several files or checks failed; each is named"),
		row(exitMissingTool, "a required program is not installed"),
		row(exitNotCompared, "files are signed, but no signer was named: nothing is verified"),
		row(exitNotExecutable, "signkit run: the command cannot be started"),
		row(exitNotFound, "signkit run: there is no such command; otherwise the code is the command's"),
		row(exitInterrupted, "ended by a signal"),
	}
}

// newExitCodesTopic is a page of `signkit help`, not a command: it has no Run.
func newExitCodesTopic() *cobra.Command {
	var b strings.Builder
	writeTable(&b, nil, exitCodes())
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long:  "What the exit codes mean:\n\n" + strings.TrimRight(b.String(), "\n"),
	}
}

// commandError is an error with what to do about it and the exit code it ends with.
type commandError struct {
	err   error
	hints []string
	code  int // 0: that of err
}

func (e *commandError) Error() string { return e.err.Error() }
func (e *commandError) Unwrap() error { return e.err }

// withHint adds a line that says what to do. Several add up, in their order.
func withHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &commandError{err: err, hints: []string{hint}}
}

// withCode sets the exit code.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &commandError{err: err, code: code}
}

// usageError is a wrong call.
func usageError(format string, args ...any) error {
	return withCode(exitUsage, fmt.Errorf(format, args...))
}

// walk visits an error and all that it wraps, the outermost first.
func walk(err error, visit func(error)) {
	if err == nil {
		return
	}
	visit(err)
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		walk(e.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			walk(inner, visit)
		}
	}
}

// hintsOf collects the hints of an error, those nearest to the cause first, with those of the
// service's client.
func hintsOf(err error) []string {
	var hints []string
	walk(err, func(err error) {
		switch e := err.(type) {
		case *commandError:
			hints = append(append([]string{}, e.hints...), hints...)
		case *key.Error:
			if e.Hint != "" {
				hints = append([]string{e.Hint}, hints...)
			}
		}
	})
	return hints
}

// exitCodeOf finds the code: the outermost that was set, or what the cause says.
func exitCodeOf(err error) int {
	code := 0
	walk(err, func(err error) {
		if e, ok := err.(*commandError); ok && code == 0 {
			code = e.code
		}
		if status, ok := err.(commandStatus); ok && code == 0 {
			code = int(status)
		}
	})
	if code != 0 {
		return code
	}
	if err == nil {
		return exitOK
	}
	if code := key.Lookup(kindExits, key.KindOf(err)); code != 0 {
		return code
	}
	return exitFailed
}

// kindExits are the codes of failures of a key; others end with exitFailed.
var kindExits = map[key.Kind]int{
	key.Forbidden:      exitRefused,
	key.NoSuchPolicy:   exitRefused,
	key.BadRequest:     exitRefused,
	key.Unsupported:    exitFailed,
	key.DigestLength:   exitFailed,
	key.Throttled:      exitUnavailable,
	key.Unavailable:    exitUnavailable,
	key.Network:        exitUnavailable,
	key.Untrusted:      exitUnavailable,
	key.BadAnswer:      exitUnverified,
	key.UnusableAnswer: exitUnavailable,
	key.Elsewhere:      exitUnavailable,
	key.Canceled:       exitInterrupted,
}
