package home

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// WatchWord is the argument by which the processes are known that watch for whom a GNUPGHOME is.
const WatchWord = "watch"

// watchPoll is how often a watching process looks.
const watchPoll = time.Second

// watcherVariables are all that a watching process gets: it needs no token, and so must not hold one.
var watcherVariables = []string{"PATH", "HOME", "TMPDIR", "LANG"}

func watcherEnvironment() []string {
	var environ []string
	for _, name := range watcherVariables {
		if value, ok := os.LookupEnv(name); ok {
			environ = append(environ, name+"="+value)
		}
	}
	return environ
}

// watcherCommand is this program once more, out of reach of what ends the process that starts it: a session of its own, and
// nothing open that somebody waits for.
func watcherCommand(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "signkit"
	cmd.Env = watcherEnvironment()
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// Watcher is a process that ends the GNUPGHOMEs of this one if this one is killed. The pipe between them says so: its other end
// closes with this process, whatever ends it, in containers too.
type Watcher struct {
	process *exec.Cmd
	homes   io.WriteCloser
}

// StartWatcher starts the process. args are those with which this program calls EndAtEOF on its standard input.
func StartWatcher(args ...string) (*Watcher, error) {
	cmd := watcherCommand(args...)
	homes, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the process that ends gpg-agent when this one is killed: %w", err)
	}
	return &Watcher{cmd, homes}, nil
}

// Add has a home of this process watched; it comes before SetUp.
func (w *Watcher) Add(h *Home) error {
	_, err := fmt.Fprintln(w.homes, h.Dir) // a path without control characters
	return err
}

// Close ends the watch: the homes have ended, or are somebody else's from now on. A nil Watcher has none.
func (w *Watcher) Close() {
	if w == nil {
		return
	}
	_ = w.process.Process.Kill() // it holds nothing
	_ = w.process.Wait()
}

// EndAtEOF reads the folders of homes, one a line, and ends those that are left when no more can come.
func EndAtEOF(ctx context.Context, in io.Reader) error {
	var dirs []string
	for lines := bufio.NewScanner(in); lines.Scan(); {
		dirs = append(dirs, lines.Text())
	}
	var errs []error
	for _, dir := range dirs {
		if h, err := Find(dir); err == nil {
			errs = append(errs, h.End(ctx))
		}
	}
	return errors.Join(errs...)
}

// Maker is the process for which a GNUPGHOME is there. The number alone may be another's later.
type Maker struct {
	PID   int
	Start string // field 22 of /proc/PID/stat
}

// FindMaker looks at a process that runs.
func FindMaker(pid int) (Maker, error) {
	if pid <= 0 {
		return Maker{}, errors.New("the process is in another PID namespace")
	}
	start, err := startOf(pid)
	if err != nil {
		return Maker{}, fmt.Errorf("process %d: %w", pid, err)
	}
	if start == "" {
		return Maker{}, fmt.Errorf("process %d has ended", pid)
	}
	return Maker{pid, start}, nil
}

// startOf is when a process began; "" when it has ended, also if nobody has taken note of that yet (proc_pid_stat(5)).
func startOf(pid int) (string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // from the state, field 3, on
	if len(fields) < 20 {
		return "", fmt.Errorf("its status reads %q", text)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return "", nil
	}
	return fields[19], nil
}

func (m Maker) ended() bool {
	start, err := startOf(m.PID)
	return err == nil && start != m.Start
}

// Detach starts the process that ends this home when the maker has ended; args are those with which this program calls EndWith.
func (h *Home) Detach(args ...string) error {
	cmd := watcherCommand(args...)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the process that watches: %w", err)
	}
	return cmd.Process.Release()
}

// EndWith waits until the maker has ended, and ends the home then. It returns when somebody else has ended it.
func (h *Home) EndWith(ctx context.Context, m Maker) error {
	for !m.ended() {
		if _, err := os.Lstat(h.Dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchPoll):
		}
	}
	return h.End(ctx)
}
