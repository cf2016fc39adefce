package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	gnupghome "signkit/gpgagent/home"
	"signkit/internal/gnupgtest"
)

// buildBridge makes the program that gpg-agent starts, from the sources as they are now.
func buildBridge(path string) error {
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/"+bridgeProgram).CombinedOutput(); err != nil {
		return fmt.Errorf("building the bridge: %w\n%s", err, out)
	}
	return nil
}

// setUpGPG gives a script about gpg (gpg-…, sign-gpg-…) the bridge, and a TMPDIR that is short enough for sockets.
// Agents that a failed script left there are ended.
func setUpGPG(env *testscript.Env, bridge func() (string, error)) error {
	name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
	ofGPG := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	if !slices.ContainsFunc([]string{"gpg-", "sign-gpg-", "run-", "agent-"}, ofGPG) {
		return nil
	}
	if _, err := exec.LookPath("gpg-agent"); err != nil {
		return nil // the script skips itself
	}
	program, err := bridge()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/tmp", "sk")
	if err != nil {
		return err
	}
	env.Defer(func() {
		endAgents(dir)
		os.RemoveAll(dir)
	})
	env.Setenv(bridgeVariable, program)
	env.Setenv("TMPDIR", dir)
	return nil
}

// TestGPGWithAndWithoutRunUser: whoever has logged in has a folder in /run/user, which changes where gpg-agent listens.
func TestGPGWithAndWithoutRunUser(t *testing.T) {
	gnupgtest.InRunUser(t, "^TestScripts$/^(gpg-init-(signs|refuses|homedir|github-env)|sign-gpg-files)$")
}

func endAgents(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	homes, _ := filepath.Glob(filepath.Join(dir, "*", "gpg-agent.conf"))
	for _, conf := range homes {
		if home, err := gnupghome.Find(filepath.Dir(conf)); err == nil {
			home.End(ctx)
			for _, what := range [][]string{{"--kill", "all"}, {"--remove-socketdir"}} {
				exec.CommandContext(ctx, "gpgconf", append([]string{"--homedir", home.Dir}, what...)...).Run()
			}
		}
	}
}
