package integration

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ory/dockertest/v3/docker"

	"signkit/images"
)

// kept is a container whose shell runs commands one after another. Starting a container takes longer than what most tests do in
// one, so it is used again, but only where the next command finds all as the first one did: no process, nothing in /tmp, no
// other change of the file system.
type kept struct {
	client         *docker.Client
	id, key        string
	stdin          *io.PipeWriter
	stdout, stderr *stream
	gone           chan struct{} // closed when the container's shell has ended
	start          []docker.Change
	lasting        bool // its file system can change
}

// shell reads scripts that end with NUL, and runs each in a shell of its own. When that ends, so does every other process but the
// container's first and this one, and the folders in memory are emptied. Then both streams get a line with the mark, which is $1;
// on stdout, the exit status and the number of processes that did not end come with it.
const shell = `
shopt -s dotglob nullglob
while IFS= read -r -d '' script; do
  ( eval "$script" ) </dev/null
  status=$?
  kill -KILL -1 2>/dev/null
  for ((i = 0; i < 500; i++)); do
    processes=(/proc/[0-9]*)
    [[ ${#processes[@]} -gt 2 ]] || break
    sleep 0.02
  done
  remains=(/tmp/* /dev/shm/* /run/user/*/*)
  [[ ${#remains[@]} -eq 0 ]] || rm -rf -- "${remains[@]}"
  echo "$1 $status $((${#processes[@]} - 2))"
  echo "$1" >&2
done`

// commandLimit is how long a command may take, unless its test says otherwise: many times of what it takes on a busy machine.
const commandLimit = 6 * time.Minute

// engineLimit is how long the Docker engine may take for an answer.
const engineLimit = 3 * time.Minute

// stream collects what a command writes, up to the line with the mark.
type stream struct {
	mark []byte
	end  chan string // what the line with the mark says besides

	mu   sync.Mutex
	text []byte
	seen int // octets that do not begin a mark
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	at := bytes.Index(s.text[s.seen:], s.mark)
	if at < 0 {
		s.seen = max(0, len(s.text)-len(s.mark))
		return len(p), nil
	}
	s.seen += at
	if end := bytes.IndexByte(s.text[s.seen:], '\n'); end >= 0 {
		s.end <- string(s.text[s.seen+len(s.mark) : s.seen+end])
		s.text = s.text[:s.seen]
	}
	return len(p), nil
}

// take returns what has been collected, and begins again.
func (s *stream) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := string(s.text)
	s.text, s.seen = nil, 0
	return text
}

// key is the same for containers that differ in nothing but what they run.
func (c container) key() string {
	return fmt.Sprintf("%s %s %v %v %q", c.image, c.user.id, c.user.readOnly, c.network, c.binds)
}

// startKept starts a container and its shell.
func (s *setup) startKept(c container) (*kept, error) {
	ctx, cancel := context.WithTimeout(context.Background(), engineLimit)
	defer cancel()
	mark := "\x01" + rand.Text()
	created, err := s.pool.Client.CreateContainer(docker.CreateContainerOptions{
		Context: ctx,
		Config: &docker.Config{
			Image: c.image, User: c.user.id, Cmd: []string{"bash", "-c", shell, "bash", mark}, WorkingDir: "/",
			AttachStdin: true, AttachStdout: true, AttachStderr: true, OpenStdin: true, StdinOnce: true,
		},
		HostConfig: s.hostConfig(c),
	})
	if err != nil {
		return nil, err
	}
	stdin, toStdin := io.Pipe()
	k := &kept{
		client: s.pool.Client, id: created.ID, key: c.key(), stdin: toStdin, gone: make(chan struct{}), lasting: !c.user.readOnly,
		stdout: &stream{mark: []byte(mark), end: make(chan string, 1)}, stderr: &stream{mark: []byte(mark), end: make(chan string, 1)},
	}
	if err := k.attach(ctx, stdin); err != nil {
		return nil, errors.Join(err, k.remove())
	}
	if err := s.pool.Client.StartContainerWithContext(created.ID, nil, ctx); err != nil {
		return nil, errors.Join(err, k.remove())
	}
	if k.lasting {
		if k.start, err = s.pool.Client.ContainerChanges(created.ID); err != nil {
			return nil, errors.Join(err, k.remove())
		}
	}
	return k, nil
}

// hostConfig is what the engine does for a container. It removes one whose shell has ended, as it does when this process has.
func (s *setup) hostConfig(c container) *docker.HostConfig {
	h := &docker.HostConfig{
		Binds: append([]string{s.work + ":" + workInContainer}, c.binds...), Init: true, AutoRemove: true,
		LogConfig: docker.LogConfig{Type: "none"}, NetworkMode: "none",
	}
	if c.network {
		h.NetworkMode = s.network.Network.Name
	}
	if c.user.readOnly {
		h.ReadonlyRootfs = true
		h.Tmpfs = c.user.tmpfs()
	}
	return h
}

func (k *kept) attach(ctx context.Context, stdin io.Reader) error {
	attached := make(chan struct{})
	waiter, err := k.client.AttachToContainerNonBlocking(docker.AttachToContainerOptions{
		Container: k.id, InputStream: stdin, OutputStream: k.stdout, ErrorStream: k.stderr,
		Success: attached, Stream: true, Stdin: true, Stdout: true, Stderr: true,
	})
	if err != nil {
		return err
	}
	go func() {
		_ = waiter.Wait()
		close(k.gone)
	}()
	select {
	case <-attached:
		attached <- struct{}{}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("attaching: %w", ctx.Err())
	}
}

// run runs a script to its end. With an error, the container is of no more use, and the result has the output so far.
func (k *kept) run(script string, limit time.Duration) (result, error) {
	end := time.NewTimer(limit)
	defer end.Stop()
	go func() { _, _ = io.WriteString(k.stdin, script+"\x00") }()
	var answers [2]string
	var err error
	for i, s := range []*stream{k.stdout, k.stderr} {
		select {
		case answers[i] = <-s.end:
		case <-k.gone:
			err = errors.New("the container ended before the command did")
		case <-end.C:
			err = fmt.Errorf("no end within %s", limit)
		}
		if err != nil {
			return result{-1, k.stdout.take(), k.stderr.take()}, err
		}
	}
	r := result{stdout: k.stdout.take(), stderr: k.stderr.take()}
	var remain int
	if _, err := fmt.Sscan(answers[0], &r.code, &remain); err != nil {
		return r, fmt.Errorf("the shell says %q: %w", answers[0], err)
	}
	if remain > 0 {
		return r, fmt.Errorf("%d processes cannot be ended", remain)
	}
	return r, nil
}

// unchanged reports whether the file system is as it was when the container started. Changes of a folder that holds no other
// change are traces of what is no longer in it.
func (k *kept) unchanged() bool {
	if !k.lasting {
		return true
	}
	changes, err := k.client.ContainerChanges(k.id)
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(changes, func(c docker.Change) bool {
		return !slices.Contains(k.start, c) && (c.Kind != docker.ChangeModify || !slices.Contains(folders, c.Path))
	})
}

// folders are those that programs put something into for a time.
var folders = []string{"/tmp", "/root", "/var", "/var/tmp", "/var/lib", "/run", "/etc", "/dev", "/dev/shm", "/usr", "/home"}

func (k *kept) remove() error {
	_ = k.stdin.Close()
	ctx, cancel := context.WithTimeout(context.Background(), engineLimit)
	defer cancel()
	err := k.client.RemoveContainer(docker.RemoveContainerOptions{ID: k.id, Force: true, RemoveVolumes: true, Context: ctx})
	var none *docker.NoSuchContainer
	if e := (*docker.Error)(nil); errors.As(err, &e) && e.Status == 409 || errors.As(err, &none) {
		return nil // the engine is at it, or has done it
	}
	return err
}

// keptMost is how many containers wait for their next command at most.
const keptMost = 48

// containers are those that wait for a command; the zero value is ready.
type containers struct {
	mu   sync.Mutex
	idle []*kept // the one that has waited longest first

	started, commands int
}

// take returns a container as c wants it, which is nobody else's until it is given back.
func (s *setup) take(c container) (*kept, error) {
	s.kept.mu.Lock()
	s.kept.commands++
	for i := len(s.kept.idle) - 1; i >= 0; i-- {
		if k := s.kept.idle[i]; k.key == c.key() {
			s.kept.idle = slices.Delete(s.kept.idle, i, i+1)
			s.kept.mu.Unlock()
			return k, nil
		}
	}
	s.kept.started++
	s.kept.mu.Unlock()
	return s.startKept(c)
}

// giveBack keeps a container for the next command, if that will find it as new.
func (s *setup) giveBack(k *kept) error {
	if !k.unchanged() {
		return k.remove()
	}
	s.kept.mu.Lock()
	s.kept.idle = append(s.kept.idle, k)
	var oldest *kept
	if len(s.kept.idle) > keptMost {
		oldest = s.kept.idle[0]
		s.kept.idle = slices.Delete(s.kept.idle, 0, 1)
	}
	s.kept.mu.Unlock()
	if oldest != nil {
		return oldest.remove()
	}
	return nil
}

// removeKept removes all containers that wait.
func (s *setup) removeKept() error {
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	errs := make([]error, len(s.kept.idle))
	var all sync.WaitGroup
	for i, k := range s.kept.idle {
		all.Go(func() { errs[i] = k.remove() })
	}
	all.Wait()
	s.kept.idle = nil
	return errors.Join(errs...)
}

// processes says what runs in a container, for whoever wonders why it does not end.
func (k *kept) processes() string {
	top, err := k.client.TopContainer(k.id, "")
	if err != nil {
		return err.Error()
	}
	lines := []string{strings.Join(top.Titles, " ")}
	for _, p := range top.Processes {
		lines = append(lines, strings.Join(p, " "))
	}
	return strings.Join(lines, "\n")
}

// TestKeptContainers: a command finds nothing of the one before, and a container that was changed is not used again.
func TestKeptContainers(t *testing.T) {
	s := need(t)
	for _, u := range users {
		t.Run(u.name, func(t *testing.T) {
			// A folder of its own makes it a container of its own.
			c := container{image: "signkit:" + s.images[0].Tag(images.Full), user: u, binds: []string{t.TempDir() + ":/mine"}, dir: s.workDir(t)}
			run := func(script string) result {
				c.command = []string{"bash", "-c", script}
				return s.run(t, c)
			}
			first := run("touch /run/user/$UID/x 2>/dev/null; sleep 1000 & touch /tmp/x /tmp/.y /dev/shm/z; mkdir /tmp/d; cd /tmp; umask 0; export X=1; echo out; echo err >&2; " +
				"echo $HOSTNAME; exit 3")
			if first.code != 3 || !strings.HasPrefix(first.stdout, "out\n") || first.stderr != "err\n" {
				t.Errorf("the first command ended with %d, %q, %q", first.code, first.stdout, first.stderr)
			}
			const look = `pwd; umask; echo "${X-}"; ls -A /tmp /dev/shm /run/user/$UID 2>/dev/null; for p in /proc/[0-9]*/comm; do read -r name <$p; echo "$name"; done; cat; echo $HOSTNAME`
			second := run(look)
			session := "" // what there is for a user who has logged in, and must be empty
			if folder := "/run/user/" + strings.TrimSuffix(cmp.Or(u.id, "0"), ":12345"); u.readOnly {
				session = folder + ":\n\n"
			}
			want := c.inside() + "\n0022\n\n/dev/shm:\n\n" + session + "/tmp:\ndocker-init\nbash\nbash\n" + strings.TrimPrefix(first.stdout, "out\n")
			if got := strings.ReplaceAll(second.stdout, "tini\n", "docker-init\n"); second.code != 0 || got != want {
				t.Errorf("the second command ended with %d and says\n%s\nwant\n%s", second.code, second.stdout, want)
			}
			if u.name != "root" {
				return
			}
			run("echo x >>/etc/passwd")
			if third := run(look); strings.HasSuffix(third.stdout, strings.TrimPrefix(first.stdout, "out\n")) {
				t.Error("a container with another /etc/passwd was used again")
			}
		})
	}
}

// TestCommandLimit: a command that does not end is no wait for ever, and what it has said until then is known.
func TestCommandLimit(t *testing.T) {
	s := need(t)
	c := container{image: s.images[0].plain()}
	k, err := s.startKept(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.remove(); err != nil {
			t.Error(err)
		}
	})
	got, err := k.run("echo begun; echo cause >&2; exec sleep 1000", 10*time.Second)
	if err == nil || !strings.Contains(err.Error(), "no end within 10s") || got.stdout != "begun\n" || got.stderr != "cause\n" {
		t.Errorf("ended with %v, %q, %q", err, got.stdout, got.stderr)
	}
	if p := k.processes(); !strings.Contains(p, "sleep 1000") {
		t.Errorf("the processes are said to be\n%s", p)
	}
}

// TestStream: the mark is found in whatever parts it comes.
func TestStream(t *testing.T) {
	const text = "one\ntwo\x01MAR\x01MARK 7 0\n"
	for size := 1; size <= len(text); size++ {
		s := &stream{mark: []byte("\x01MARK"), end: make(chan string, 1)}
		for part := range slices.Chunk([]byte(text), size) {
			if n, err := s.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		select {
		case end := <-s.end:
			if got := s.take(); end != " 7 0" || got != "one\ntwo\x01MAR" {
				t.Errorf("in parts of %d: %q, end %q", size, got, end)
			}
		default:
			t.Errorf("in parts of %d: no end in %q", size, cmp.Or(s.take(), "nothing"))
		}
	}
}
