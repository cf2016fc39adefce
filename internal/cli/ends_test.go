package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"signkit/internal/mockapi"
)

// endsIn is for what ends by itself; the bound is only for a test that fails.
const endsIn = time.Minute

// ending is a signkit of real processes, all of which have a mark in their environment or command line.
type ending struct {
	t       *testing.T
	service *mockapi.Server
	dir     string // TMPDIR of all
	work    string // the files
	environ []string
}

func newEnding(t *testing.T) *ending {
	t.Helper()
	for _, program := range []string{"gpg", "gpg-agent", "gpgv", "bash"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	bridge, err := shared(bridgeProgram, buildBridge)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := shared("keys", makeKeys)
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	if err := os.CopyFS(filepath.Join(state, "keys"), os.DirFS(filepath.Join(keys, "keys"))); err != nil {
		t.Fatal(err)
	}
	service, err := mockapi.Start(mockapi.Options{StateDir: state})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "sk") // short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		service.Close(ctx)
		endAgents(dir)
		os.RemoveAll(dir)
	})
	e := &ending{t: t, service: service, dir: dir, work: t.TempDir()}
	e.environ = append(service.Environment(), "PATH="+e.programs()+":"+os.Getenv("PATH"), "TMPDIR="+dir,
		bridgeVariable+"="+bridge, "SIGNKIT_DESCRIPTION="+dir, "GORACE=atexit_sleep_ms=0")
	for _, name := range []string{"a.txt", "b.txt", "c.txt"} {
		e.write(name)
	}
	return e
}

// programs is a folder with signkit under its name, by which TestMain knows it: a link, since a file that was just written may be
// busy, as a process that is being started elsewhere in this one has it open for a moment.
func (e *ending) programs() string {
	e.t.Helper()
	self, err := os.Executable()
	if err != nil {
		e.t.Fatal(err)
	}
	link := filepath.Join(e.t.TempDir(), "signkit")
	if err := os.Link(self, link); err != nil {
		program, err := os.ReadFile(self) // on another file system
		if err := errors.Join(err, os.WriteFile(link, program, 0o755)); err != nil {
			e.t.Fatal(err)
		}
	}
	return filepath.Dir(link)
}

func (e *ending) write(name string) {
	e.t.Helper()
	if err := os.WriteFile(filepath.Join(e.work, name), []byte(name), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// bash runs a script in the folder with the files.
func (e *ending) bash(script string) *exec.Cmd {
	cmd := exec.CommandContext(e.t.Context(), "bash", "-euc", script)
	cmd.Dir, cmd.Env = e.work, e.environ
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// running are the processes that have the mark.
func (e *ending) running() []string {
	var found []string
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		if filepath.Base(folder) == strconv.Itoa(os.Getpid()) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(folder, "environ"))
		if len(line) > 0 && (bytes.Contains(line, []byte(e.dir)) || bytes.Contains(environ, []byte(e.dir))) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func (e *ending) wantNoProcess() {
	e.t.Helper()
	e.eventually(func() error {
		if left := e.running(); len(left) > 0 {
			return fmt.Errorf("still running: %q", left)
		}
		return nil
	})
}

func (e *ending) eventually(check func() error) {
	e.t.Helper()
	for deadline := time.Now().Add(endsIn); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			e.t.Fatal(err)
		}
	}
}

// wantNoFolder looks at TMPDIR, and beside the files.
func (e *ending) wantNoFolder() {
	e.t.Helper()
	e.eventually(func() error {
		left, err := filepath.Glob(filepath.Join(e.dir, "*"))
		hidden, err2 := filepath.Glob(filepath.Join(e.work, ".signkit-*"))
		if left = append(left, hidden...); len(left) > 0 {
			err = fmt.Errorf("left: %q", left)
		}
		return errors.Join(err, err2)
	})
}

// wantNoToken reads all that is left.
func (e *ending) wantNoToken() {
	e.t.Helper()
	token := []byte(lookup(e.environ, "SIGNPATH_API_TOKEN"))
	err := filepath.WalkDir(e.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, token) {
			e.t.Errorf("%s has the token", path)
		}
		return err
	})
	if err != nil {
		e.t.Error(err)
	}
}

// signing starts a batch whose signatures do not come, and waits until two are being made.
func (e *ending) signing(before string) *exec.Cmd {
	e.t.Helper()
	if err := setFaults(e.service, `{"route":"sign","kind":"hang","count":-1}`); err != nil {
		e.t.Fatal(err)
	}
	cmd := e.bash(before + "exec signkit sign --jobs 2 --key demo/gpg-p-256 a.txt b.txt c.txt")
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.eventually(func() error {
		signing := 0
		for _, line := range e.running() {
			if strings.Contains(line, "gpg ") && strings.Contains(line, "--detach-sign") {
				signing++
			}
		}
		if signing < 2 {
			return fmt.Errorf("%d files are being signed: %q", signing, e.running())
		}
		return nil
	})
	return cmd
}

func TestSignEndsWithoutRemainsWhateverSignalEndsIt(t *testing.T) {
	for name, c := range map[string]struct {
		signal syscall.Signal
		code   int
		clean  bool // the folders are gone, too
	}{
		"SIGHUP": {syscall.SIGHUP, exitInterrupted, true}, "SIGTERM": {syscall.SIGTERM, exitInterrupted, true},
		"SIGKILL": {syscall.SIGKILL, -1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnding(t)
			cmd := e.signing("")
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != c.code {
				t.Errorf("it ends with %v", err)
			}
			e.wantNoProcess()
			if c.clean {
				e.wantNoFolder()
			}
			e.wantNoToken()
			if signatures, _ := filepath.Glob(filepath.Join(e.work, "*.asc")); len(signatures) > 0 {
				t.Errorf("there are %q", signatures)
			}
		})
	}
}

// nohup is for those who want to go on.
func TestSignGoesOnWhereSIGHUPIsIgnored(t *testing.T) {
	t.Parallel()
	e := newEnding(t)
	cmd := e.signing("trap '' HUP; ")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil { // comes after it
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("it ends with %v", err)
	}
	e.wantNoProcess()
}

// As with `signkit sign … 2>&1 | head -1`: the first line is read, and the others have no reader.
func TestSignEndsWhenNobodyReadsWhatItSays(t *testing.T) {
	t.Parallel()
	e := newEnding(t)
	e.write("cosign.pub")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := e.bash("exec signkit sign --jobs 1 --key demo/gpg-p-256 cosign.pub a.txt b.txt c.txt")
	cmd.Stderr = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(read).ReadString('\n')
	if err := errors.Join(err, read.Close(), write.Close()); err != nil || !strings.HasPrefix(line, "left out: ") {
		t.Fatalf("it says %q, %v", line, err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("it ends with %v", err)
	}
	e.wantNoProcess()
	e.wantNoFolder()
}

func TestOutputThatNobodyTakesIsAFailure(t *testing.T) {
	t.Parallel()
	e := newEnding(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	read, unread, err := os.Pipe()
	if err := errors.Join(err, read.Close()); err != nil {
		t.Fatal(err)
	}
	defer unread.Close()
	for name, c := range map[string]struct {
		stdout *os.File
		code   int
	}{"no room": {full, exitFailed}, "no reader": {unread, exitInterrupted}} {
		cmd := e.bash("exec signkit policies")
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = c.stdout, &said
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != c.code || (said.Len() == 0) != (c.code == exitInterrupted) {
			t.Errorf("%s: it ends with %v\n%s", name, err, &said)
		}
	}
}

// initShell starts a shell that has evaluated what init printed, and waits for input.
func (e *ending) initShell(script string) (*exec.Cmd, io.WriteCloser) {
	e.t.Helper()
	cmd := e.bash(script)
	in, err := cmd.StdinPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	said := e.console(cmd)
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		e.t.Fatalf("it says %q, %v\n%s", line, err, said())
	}
	return cmd, in
}

func TestAKilledShellTakesItsAgentWithIt(t *testing.T) {
	const signs = "gpg --batch -u $GPG_KEY_ID --detach-sign a.txt; "
	for name, script := range map[string]string{
		"shell":        `eval "$(signkit gpg init demo/gpg-p-256)"; ` + signs + `echo ready; read -r line`,
		"other trap":   `eval "$(signkit gpg init demo/gpg-p-256)"; trap : EXIT; ` + signs + `echo ready; read -r line`,
		"second key":   `eval "$(signkit gpg init demo/gpg-p-256)"; eval "$(signkit gpg init --homedir "$GNUPGHOME" demo/gpg-rsa-4096)"; ` + signs + `echo ready; read -r line`,
		"in a pipe":    `lines=$(signkit gpg init demo/gpg-p-256 | cat); eval "$lines"; ` + signs + `echo ready; read -r line`,
		"home of mine": `eval "$(signkit gpg init --homedir "$TMPDIR/h" demo/gpg-p-256)"; signkit gpg watch; ` + signs + `echo ready; read -r line`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnding(t)
			cmd, _ := e.initShell(script)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			e.wantNoProcess()
			if name != "home of mine" {
				e.wantNoFolder()
			}
		})
	}
}

// Steps of a CI job, and commands in a running container, are shells of their own: what one of them prepares for the next is not
// watched unless it was asked for.
func TestAHomeThatOutlivesItsShellIsNotWatched(t *testing.T) {
	t.Parallel()
	e := newEnding(t)
	for _, script := range []string{
		`signkit gpg init --homedir "$TMPDIR/h" demo/gpg-p-256 >lines`,
		`sleep 2; . ./lines; signkit gpg status | grep -q "^bridge *answers"; gpg --batch -u $GPG_KEY_ID --detach-sign a.txt; signkit gpg kill`,
	} {
		if out, err := e.bash(script).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	e.wantNoProcess()
}
