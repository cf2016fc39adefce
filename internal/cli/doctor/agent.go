package doctor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"signkit/internal/agent"
	"signkit/internal/config"
	"signkit/internal/version"
)

// jobAgent asks the agent of this job what it is and has, and looks for what it should keep from the job.
func (e *examination) jobAgent(ctx context.Context) {
	const area = "agent"
	if e.Config == nil || e.Config.Agent == "" {
		return
	}
	status, err := agent.Ask(ctx, e.Config.Agent)
	if err != nil {
		e.problem(area, "socket", fmt.Sprintf("nobody answers at %s: %v", e.Config.Agent, err),
			"an agent ends with the signkit run or signkit agent that made it; start the job with signkit run")
		return
	}
	bound := "without a bound"
	if status.MaxSignatures > 0 {
		bound = fmt.Sprintf("of %d", status.MaxSignatures)
	}
	e.ok(area, "socket", fmt.Sprintf("process %d answers, %d signatures %s", status.PID, status.Signatures, bound))
	if status.Version != version.Version {
		e.problem(area, "version", fmt.Sprintf("the agent is of %s, this is %s: its tools' module refuses that", status.Version, version.Version),
			"install the same release on both sides")
	}
	if len(status.Keys) > 0 {
		e.ok(area, "keys", strings.Join(status.Keys, ", "))
	} else {
		e.problem(area, "keys", "none can be used: "+status.KeysError, "name them with --key of signkit run or signkit agent")
	}
	e.tokenInReach("/proc")
}

// tokenInReach looks where tools of this job could: in their own environment, and in those of the processes that they may
// read. No value is read further than needed to see that there is one.
func (e *examination) tokenInReach(proc string) {
	const area, fix = "agent", "start the job with exec signkit run, so that no shell keeps the token, as a user who is not root; or give " +
		"the token to an agent in another container (signkit agent)"
	var where []string
	if name := credentialIn(e.Environ); name != "" {
		where = append(where, name+" of this environment")
	}
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "environ"))
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err != nil {
			continue // a process that has ended, or that may not be read
		}
		var variables []string
		for variable := range bytes.SplitSeq(environ, []byte{0}) {
			variables = append(variables, string(variable))
		}
		if name := credentialIn(variables); name != "" {
			folder := filepath.Dir(file)
			program, _ := os.ReadFile(filepath.Join(folder, "comm"))
			where = append(where, fmt.Sprintf("%s of process %s (%s)", name, filepath.Base(folder), strings.TrimSpace(string(program))))
		}
	}
	if len(where) == 0 {
		e.ok(area, "token", "not within this job's reach")
		return
	}
	e.warn(area, "token", "programs of this job can read "+strings.Join(where[:min(3, len(where))], ", "), fix)
}

// credentialIn is the name of the first variable with a credential, or with the name of a file that has one.
func credentialIn(environ []string) string {
	for _, name := range config.CredentialVariables() {
		for _, variable := range environ {
			if value, found := strings.CutPrefix(variable, name+"="); found && value != "" {
				return name
			}
		}
	}
	return ""
}
