// Package caller describes the process that asked for a signature, for the service's
// audit log. Everything is best effort: what cannot be read stays empty.
package caller

import "context"

// Process is one process as the signing service files it.
type Process struct {
	PID         int
	CommandLine string // program, options and files only, at most 4 KiB
	User        string // name, or the numeric uid when it has none

	OSType       string // "Linux"
	OSVersion    string // "Debian 12"
	Architecture string // "x64", "arm64"
}

// Describe reads what /proc and the system tell about a process. The function redact,
// which may be nil, is applied to what is left of the command line: it knows secrets by value.
func Describe(pid int, redact func(string) string) Process {
	return Process{
		PID:          pid,
		CommandLine:  commandLine(pid, redact),
		User:         userName(pid),
		OSType:       "Linux",
		OSVersion:    osVersion(),
		Architecture: architecture(),
	}
}

type contextKey struct{}

// NewContext says for whom what is done with ctx is done, where one program does it for many.
// The function is called when a signature is asked for.
func NewContext(ctx context.Context, process func() Process) context.Context {
	return context.WithValue(ctx, contextKey{}, process)
}

// FromContext is what NewContext was given, or nil.
func FromContext(ctx context.Context) func() Process {
	process, _ := ctx.Value(contextKey{}).(func() Process)
	return process
}
