package integration

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"

	"signkit/images"
)

// user is how a container runs.
type user struct {
	name     string
	id       string // for docker run -u; empty: the image's own
	readOnly bool   // read-only root file system, with what tmpfs says
}

// tmpfs are the folders that can be written to where the root file system cannot: /tmp, and one of the user in /run/user, as after
// a login. gpg-agent listens there then, and in its GNUPGHOME for the users that have none.
func (u user) tmpfs() map[string]string {
	uid, _, _ := strings.Cut(cmp.Or(u.id, "0"), ":")
	return map[string]string{"/tmp": "", "/run/user/" + uid: "mode=0700,uid=" + uid}
}

// users are root, a number without an entry in the image's passwd, and both without a file system to write to.
var users = []user{
	{name: "root"},
	{name: "uid-12345", id: "12345:12345"},
	{name: "read-only", readOnly: true},
	{name: "uid-12345-read-only", id: "12345:12345", readOnly: true},
}

// container is one run of a command to its end.
type container struct {
	image   string
	user    user
	env     []string // NAME=VALUE
	binds   []string // host:container[:ro]
	network bool     // on the services' network; else on none
	command []string
}

// result is how a container ended.
type result struct {
	code           int
	stdout, stderr string
}

// quickJava leaves out the compiler that pays for programs that run for long: keytool and jarsigner take half the time.
const quickJava = "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

// run runs c and returns how it ended. If the test fails later, its output and the command that repeats it are logged.
func (s *setup) run(t *testing.T, c container) result {
	t.Helper()
	repository, tag, _ := strings.Cut(c.image, ":")
	if strings.HasSuffix(tag, "-java") || repository == "signkit-jdk" {
		c.env = append(slices.Clip(c.env), quickJava)
	}
	options := &dockertest.RunOptions{Repository: repository, Tag: tag, Env: c.env, Cmd: c.command, User: c.user.id, WorkingDir: "/work"}
	if c.network {
		options.Networks = []*dockertest.Network{s.network}
	}
	resource, err := s.pool.RunWithOptions(options, c.configure)
	if err != nil {
		t.Fatalf("starting %s: %v", c.line(), err)
	}
	t.Cleanup(func() { _ = s.pool.Purge(resource) })

	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
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
		h.Tmpfs = c.user.tmpfs()
	}
}

// line is the docker command that repeats the run; tokens stay out of it, so docker takes them from its environment.
func (c container) line() string {
	line := []string{"docker run --rm --init -w /work"}
	if c.user.id != "" {
		line = append(line, "-u", c.user.id)
	}
	if c.user.readOnly {
		line = append(line, "--read-only")
		for folder, options := range c.user.tmpfs() {
			line = append(line, "--tmpfs", strings.TrimSuffix(folder+":"+options, ":"))
		}
	}
	if c.network {
		line = append(line, "--network", shared.network.Network.Name)
	} else {
		line = append(line, "--network none")
	}
	for _, v := range c.env {
		if name, _, _ := strings.Cut(v, "="); strings.Contains(name, "TOKEN") {
			v = name
		}
		line = append(line, "-e", quote(v))
	}
	for _, b := range c.binds {
		line = append(line, "-v", quote(b))
	}
	line = append(line, c.image)
	for _, word := range c.command {
		line = append(line, quote(word))
	}
	return strings.Join(line, " ")
}

// quote is a word for a shell.
func quote(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,") == "" && word != "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// workDir is a folder that every user may write to. Files of other users in it are no obstacle to removing it.
func (s *setup) workDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "signkit-work-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if os.RemoveAll(dir) == nil {
			return
		}
		// Where this process is not root, a container can.
		s.run(t, container{image: s.images[0].plain(), binds: []string{dir + ":/work"},
			command: []string{"find", "/work", "-mindepth", "1", "-delete"}})
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// absolute is a path of the repository for docker's -v.
func absolute(t *testing.T, path ...string) string {
	t.Helper()
	full, err := filepath.Abs(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// TestPrintedLine: the docker line that a failure prints does the same again, once the tokens are in the environment.
func TestPrintedLine(t *testing.T) {
	s := need(t)
	m, dir := s.borrow(t), s.workDir(t)
	c := container{
		image: "signkit:" + s.images[len(s.images)-1].Tag(images.Full), user: users[3], network: true,
		env: m.settings("SIGNKIT_DESCRIPTION=it's a \"release\" of $HOME"), binds: append(m.binds(), dir+":/work"),
		command: []string{"bash", "-c", `id -u; pwd; echo "$SIGNKIT_DESCRIPTION $1"; touch /x || echo read-only; ` +
			`signkit certificate demo/p-256 | openssl x509 -noout -subject; exit 7`, "-", "two  blanks and a '"},
	}
	first := s.run(t, c)
	line := c.line()
	if token := m.setting("SIGNPATH_API_TOKEN"); strings.Contains(line, token) {
		t.Error("the line shows the token")
	}
	command := exec.CommandContext(t.Context(), "bash", "-c", line)
	command.Env = append(os.Environ(), "SIGNPATH_API_TOKEN="+m.setting("SIGNPATH_API_TOKEN"))
	output, _ := command.Output()
	if code := command.ProcessState.ExitCode(); first.code != 7 || code != 7 || string(output) != first.stdout ||
		!strings.Contains(first.stdout, "subject=") || !strings.Contains(first.stdout, "read-only") {
		t.Errorf("the first run ended with %d and\n%s\n%s\nended with %d and\n%s", first.code, first.stdout, line, code, output)
	}
}
