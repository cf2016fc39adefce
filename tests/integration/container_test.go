package integration

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// twoUsers are root, and the one who differs from root in everything.
var twoUsers = []user{users[0], users[3]}

// container is a command to run, and what it runs in.
type container struct {
	image   string
	user    user
	env     []string // NAME=VALUE
	binds   []string // host:container[:ro]
	network bool     // on the services' network; else on none
	dir     string   // of workDir, the current folder; else the root
	command []string
	limit   time.Duration // default: commandLimit
	once    bool          // no other command will want such a container
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

// workInContainer has all folders of workDir.
const workInContainer = "/work"

// inside is dir as the container sees it.
func (c container) inside() string {
	if c.dir == "" {
		return "/"
	}
	return workInContainer + "/" + filepath.Base(c.dir)
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
	k, err := s.take(c)
	if err != nil {
		t.Fatalf("starting %s: %v", c.line(), err)
	}
	r, err := k.run(c.script(), cmp.Or(c.limit, commandLimit))
	if err != nil {
		processes := k.processes()
		_ = k.remove()
		t.Fatalf("%s\n%v; it runs\n%s\nand has said\n%s%s", c.line(), err, processes, r.stdout, r.stderr)
	}
	if c.once {
		err = k.remove()
	} else {
		err = s.giveBack(k)
	}
	if err != nil {
		t.Errorf("removing a container of %s: %v", c.image, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\nexit code %d\n%s%s", c.line(), r.code, r.stdout, r.stderr)
		}
	})
	return r
}

// script is the command for a container's shell.
func (c container) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cd %s || exit 126\n", quote(c.inside()))
	for _, v := range c.env {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(value))
	}
	b.WriteString("exec")
	for _, word := range c.command {
		b.WriteString(" " + quote(word))
	}
	return b.String()
}

// line is the docker command that repeats the run; tokens stay out of it, so docker takes them from its environment.
func (c container) line() string {
	line := []string{"docker run --rm --init -w", c.inside(), "-v", quote(shared.work + ":" + workInContainer)}
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

// workDir is a folder that every user may write to. Containers see it in workInContainer.
func (s *setup) workDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(s.work, "")
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
		s.run(t, container{image: s.images[0].plain(), dir: dir, command: []string{"find", ".", "-mindepth", "1", "-delete"}})
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// within is a context that ends with the test, or after the limit.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
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
		env: m.settings("SIGNKIT_DESCRIPTION=it's a \"release\" of $HOME"), binds: m.binds(), dir: dir,
		command: []string{"bash", "-c", `id -u; pwd; echo "$SIGNKIT_DESCRIPTION $1"; touch /x || echo read-only; ` +
			`signkit certificate demo/p-256 | openssl x509 -noout -subject; exit 7`, "-", "two  blanks and a '"},
	}
	first := s.run(t, c)
	line := c.line()
	if token := m.setting("SIGNPATH_API_TOKEN"); strings.Contains(line, token) {
		t.Error("the line shows the token")
	}
	command := exec.CommandContext(within(t, commandLimit), "bash", "-c", line)
	command.Env = append(os.Environ(), "SIGNPATH_API_TOKEN="+m.setting("SIGNPATH_API_TOKEN"))
	output, _ := command.Output()
	if code := command.ProcessState.ExitCode(); first.code != 7 || code != 7 || string(output) != first.stdout ||
		!strings.Contains(first.stdout, "subject=") || !strings.Contains(first.stdout, "read-only") {
		t.Errorf("the first run ended with %d and\n%s\n%s\nended with %d and\n%s", first.code, first.stdout, line, code, output)
	}
}
