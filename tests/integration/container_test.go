package integration

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"
)

// user is how a container runs.
type user struct {
	name     string
	id       string // for docker run -u; empty: the image's own
	readOnly bool   // read-only root file system, with a tmpfs /tmp
}

var users = []user{
	{name: "root"},
	{name: "uid-12345", id: "12345:12345"}, // has no entry in the image's passwd
	{name: "read-only", readOnly: true},
	{name: "uid-12345-read-only", id: "12345:12345", readOnly: true},
}

// container is one run of a command to its end.
type container struct {
	image   string
	user    user
	env     []string // NAME=VALUE
	binds   []string // host:container[:ro]
	network bool     // on the service's network; else on none
	command []string
}

type result struct {
	code           int
	stdout, stderr string
}

// run runs c and returns how it ended. If the test fails later, its output and the command that repeats it are logged.
func (s *setup) run(t *testing.T, c container) result {
	t.Helper()
	repository, tag, _ := strings.Cut(c.image, ":")
	options := &dockertest.RunOptions{Repository: repository, Tag: tag, Env: c.env, Cmd: c.command, User: c.user.id, WorkingDir: "/work"}
	if c.network {
		options.Networks = []*dockertest.Network{s.network}
	}
	resource, err := s.pool.RunWithOptions(options, c.configure)
	if err != nil {
		t.Fatalf("starting %s: %v", c.line(), err)
	}
	t.Cleanup(func() { _ = s.pool.Purge(resource) })

	ctx := deadline(t)
	code, err := s.pool.Client.WaitContainerWithContext(resource.Container.ID, ctx)
	if err != nil {
		t.Fatalf("waiting for %s: %v", c.line(), err)
	}
	var stdout, stderr bytes.Buffer
	err = s.pool.Client.Logs(docker.LogsOptions{
		Context: ctx, Container: resource.Container.ID, Stdout: true, Stderr: true, OutputStream: &stdout, ErrorStream: &stderr,
	})
	if err != nil {
		t.Fatalf("reading the output of %s: %v", c.line(), err)
	}
	r := result{code, stdout.String(), stderr.String()}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\nexit code %d\n%s%s", c.line(), r.code, r.stdout, r.stderr)
		}
	})
	return r
}

func (c container) configure(h *docker.HostConfig) {
	h.Binds = c.binds
	h.Init = true
	if !c.network {
		h.NetworkMode = "none"
	}
	if c.user.readOnly {
		h.ReadonlyRootfs = true
		h.Tmpfs = map[string]string{"/tmp": ""}
	}
}

// line is the docker command that repeats the run; the values of variables, which can be secrets, stay out of it.
func (c container) line() string {
	line := []string{"docker run --rm --init -w /work"}
	if c.user.id != "" {
		line = append(line, "-u", c.user.id)
	}
	if c.user.readOnly {
		line = append(line, "--read-only --tmpfs /tmp")
	}
	if c.network {
		line = append(line, "--network", shared.network.Network.Name)
	} else {
		line = append(line, "--network none")
	}
	for _, v := range c.env {
		name, _, _ := strings.Cut(v, "=")
		line = append(line, "-e", name)
	}
	for _, b := range c.binds {
		line = append(line, "-v", b)
	}
	line = append(line, c.image)
	for _, word := range c.command {
		line = append(line, fmt.Sprintf("%q", word))
	}
	return strings.Join(line, " ")
}

// workDir is a folder that every user may write to.
func workDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}
