package cli

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"signkit/internal/event"
	"signkit/internal/version"
	"signkit/pkcs11/wire"
)

// running job: its command has signed by gpg, so that there are an agent and a bridge, and waits.
const waitingJob = `gpg --batch -u $GPG_KEY_ID -o a.sig --detach-sign a.txt; echo $PPID >signkit-pid; touch signed; exec sleep 1000`

// inJob starts signkit run with a script, and waits until it has made the file signed.
func (e *ending) inJob(flags, script string) *exec.Cmd {
	e.t.Helper()
	if err := os.WriteFile(filepath.Join(e.work, "job.sh"), []byte("set -eu\n"+script+"\n"), 0o600); err != nil {
		e.t.Fatal(err)
	}
	cmd := e.bash("exec signkit run --key demo/gpg-p-256 " + flags + " -- bash job.sh")
	said := e.console(cmd)
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.eventually(func() error {
		_, err := os.Stat(filepath.Join(e.work, "signed"))
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, said())
		}
		return err
	})
	return cmd
}

// console keeps what a program says on stderr, and returns what that is so far.
func (e *ending) console(cmd *exec.Cmd) func() string {
	e.t.Helper()
	file, err := os.CreateTemp(e.t.TempDir(), "stderr-")
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { file.Close() })
	cmd.Stderr = file
	return func() string {
		text, _ := os.ReadFile(file.Name())
		return string(text)
	}
}

// TestNoProcessOfAJobHasTheToken looks at environment and command line of all that run below the command or for it, and at
// every file that the job has.
func TestNoProcessOfAJobHasTheToken(t *testing.T) {
	t.Parallel()
	e := newEnding(t)
	token := []byte(lookup(e.environ, "SIGNPATH_API_TOKEN"))
	cmd := e.inJob("--events events.jsonl", waitingJob)
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM)
	e.eventually(func() error { return e.lookAtJob(cmd.Process.Pid, token, "sleep", "gpg-agent", "signkit-scdaemon") })
	e.wantNoToken()
	for _, name := range []string{"events.jsonl", "a.sig"} {
		data, err := os.ReadFile(filepath.Join(e.work, name))
		if err != nil || len(data) == 0 || bytes.Contains(data, token) {
			t.Errorf("%s: %d bytes, with the token or %v", name, len(data), err)
		}
	}
	// This process itself can be read by those who may trace it: by nobody else of its user.
	if os.Geteuid() == 0 {
		return
	}
	if _, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid)); !errors.Is(err, os.ErrPermission) {
		t.Errorf("signkit run can be read: %v", err)
	}
}

// lookAtJob looks for the token in the environment, the command line and the memory of every process of the job but signkit run
// itself. The error says which of the named programs it has not seen yet.
func (e *ending) lookAtJob(run int, token []byte, names ...string) error {
	e.t.Helper()
	folders, _ := filepath.Glob("/proc/[0-9]*")
	seen := map[string]bool{}
	for _, folder := range folders {
		environ, err := os.ReadFile(filepath.Join(folder, "environ"))
		if filepath.Base(folder) == fmt.Sprint(run) || err != nil || !bytes.Contains(environ, []byte(e.dir)) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		name, _, _ := strings.Cut(string(line), "\x00")
		seen[filepath.Base(name)] = true
		if bytes.Contains(environ, token) || bytes.Contains(line, token) {
			e.t.Errorf("%q has the token", line)
		}
		for _, variable := range []string{"SIGNPATH_API_TOKEN", "SIGNPATH_CONFIG_FILE"} {
			if bytes.Contains(environ, []byte(variable)) {
				e.t.Errorf("%q has the variable %s", line, variable)
			}
		}
		if searched, found := memoryHas(folder, token); found {
			e.t.Errorf("%q has the token in its memory", line)
		} else if searched == 0 && os.Geteuid() == 0 && alive(folder) {
			e.t.Errorf("nothing of the memory of %q could be read", line)
		}
	}
	for _, name := range names {
		if !seen[name] {
			return fmt.Errorf("%s was not looked at: %v", name, seen)
		}
	}
	return nil
}

func alive(folder string) bool {
	line, err := os.ReadFile(filepath.Join(folder, "cmdline"))
	return err == nil && len(line) > 0
}

// memoryHas searches what a process has mapped and may read, as far as this one may read it: root may, of programs that let nobody
// trace them, too. It returns how many bytes that were.
func memoryHas(folder string, wanted []byte) (searched int64, found bool) {
	maps, err := os.ReadFile(filepath.Join(folder, "maps"))
	if err != nil {
		return 0, false
	}
	memory, err := os.Open(filepath.Join(folder, "mem"))
	if err != nil {
		return 0, false
	}
	defer memory.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || mode[0] != 'r' {
			continue
		}
		// In pieces that overlap by the length of what is wanted; of a piece with a page that cannot be read, page by page.
		const piece = 1 << 20
		for at := from; at < to; at += piece {
			region := make([]byte, min(to-at, piece+int64(len(wanted))))
			n, err := memory.ReadAt(region, at)
			if err != nil {
				page := int64(os.Getpagesize())
				for ; n < len(region); n += int(page) {
					_, _ = memory.ReadAt(region[n:min(n+int(page), len(region))], at+int64(n))
				}
			}
			searched += min(int64(n), piece)
			if bytes.Contains(region, wanted) {
				return searched, true
			}
		}
	}
	return searched, false
}

// TestMemoryOfThisProcessIsSearched: the search finds what is there.
func TestMemoryOfThisProcessIsSearched(t *testing.T) {
	wanted := []byte(fmt.Sprint("a canary of process ", os.Getpid()))
	if searched, found := memoryHas("/proc/self", wanted); !found {
		t.Errorf("it is not found where it is, in %d bytes", searched)
	}
}

// TestARunPassesSignalsOnAndLeavesNothing: the command decides how it ends, and all ends with it.
func TestARunPassesSignalsOnAndLeavesNothing(t *testing.T) {
	const sleeping = `gpg --batch -u $GPG_KEY_ID -o a.sig --detach-sign a.txt; touch signed; while :; do sleep 0.05; done`
	for name, c := range map[string]struct {
		script string
		signal syscall.Signal
		code   int
	}{
		"SIGTERM":           {sleeping, syscall.SIGTERM, 143},
		"SIGHUP":            {sleeping, syscall.SIGHUP, 129},
		"SIGINT":            {"trap 'exit 9' INT; " + sleeping, syscall.SIGINT, 9},
		"SIGUSR1":           {"trap 'exit 0' USR1; " + sleeping, syscall.SIGUSR1, 0},
		"SIGTERM is caught": {"trap 'gpg --batch -u $GPG_KEY_ID -o b.sig --detach-sign a.txt; exit 5' TERM; " + sleeping, syscall.SIGTERM, 5},
		"SIGKILL":           {waitingJob, syscall.SIGKILL, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnding(t)
			cmd := e.inJob("--manifest manifest.json", c.script)
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("it ends with %d, want %d", code, c.code)
			}
			e.wantNoProcess()
			e.wantNoToken()
			if c.signal == syscall.SIGKILL {
				return // the folder of the sockets is left, with nobody behind them
			}
			e.wantNoFolder()
			data, err := os.ReadFile(filepath.Join(e.work, "manifest.json"))
			if want := fmt.Sprintf(`"exitCode": %d`, c.code); err != nil || !strings.Contains(string(data), want) {
				t.Errorf("the manifest says %s, %v; want %s", data, err, want)
			}
			if _, err := os.Stat(filepath.Join(e.work, "b.sig")); c.code == 5 && err != nil {
				t.Errorf("the command could not sign any more: %v", err)
			}
		})
	}
}

// TestSocketsOfARunAreItsUsersAlone: the folder is private, and made anew each time.
func TestSocketsOfARunAreItsUsersAlone(t *testing.T) {
	t.Parallel()
	e := newEnding(t)
	out, err := e.bash(`signkit run -- sh -c 'dir=$(dirname "$SIGNKIT_AGENT"); stat -c %a "$dir" "$SIGNKIT_AGENT" "$SIGNKIT_AGENT.rest"; ls -A "$dir"'`).Output()
	if err != nil || string(out) != "700\n600\n600\nagent\nagent.rest\n" {
		t.Errorf("%q, %v", out, err)
	}
	e.wantNoFolder()
}

// TestAnAgentWithoutDescriptorsLetsConnectionsWait: it serves those that it has, and the next when one is gone.
func TestAnAgentWithoutDescriptorsLetsConnectionsWait(t *testing.T) {
	t.Parallel()
	e := newEnding(t)
	path := filepath.Join(e.dir, "agent")
	cmd := e.bash(`ulimit -n 40; exec signkit agent --key demo/gpg-p-256 --socket "$TMPDIR/agent" >line`)
	e.console(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	e.eventually(func() error { return notEmpty(filepath.Join(e.work, "line")) })
	var conns []net.Conn
	greeted := func(conn net.Conn, within time.Duration) bool {
		_ = conn.SetDeadline(time.Now().Add(within))
		_, err := conn.Write(wire.Hello(version.Version))
		n := 0
		if err == nil {
			n, err = conn.Read(make([]byte, wire.HelloSize))
		}
		return err == nil && n == wire.HelloSize
	}
	dial := func() net.Conn {
		conn, err := net.Dial("unixpacket", path)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	for len(conns) < 60 {
		conn := dial()
		defer conn.Close()
		if !greeted(conn, 10*time.Second) {
			break
		}
		conns = append(conns, conn)
	}
	if len(conns) < 5 || len(conns) >= 40 {
		t.Fatalf("%d connections were served with 40 descriptors", len(conns))
	}
	for _, conn := range conns[:5] {
		conn.Close()
	}
	conn := dial()
	defer conn.Close()
	if !greeted(conn, endsIn) {
		t.Error("no connection is served after others have ended")
	}
}

func notEmpty(path string) error {
	data, err := os.ReadFile(path)
	if err == nil && len(data) == 0 {
		err = errors.New(path + " is empty")
	}
	return err
}

// TestAnAgentWritesItsEventsAndKeepsNone: it may serve for months.
func TestAnAgentWritesItsEventsAndKeepsNone(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		var written bytes.Buffer
		log, err := (&app{ui: &ui{stdout: &written}}).openEvents("-", keep)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			log.add(event.Event{Key: "demo/p-256"})
		}
		if err := log.close(); err != nil {
			t.Error(err)
		}
		if lines := strings.Count(written.String(), "\n"); lines != 3 {
			t.Errorf("keep %v: %d lines were written, want 3", keep, lines)
		}
		want := 0
		if keep {
			want = 3
		}
		if kept := len(log.events()); kept != want {
			t.Errorf("keep %v: %d events are kept, want %d", keep, kept, want)
		}
	}
}

// TestNoPKCS11ToolOfAJobHasTheToken: openssl and pkcs11-tool, each with a session, while they wait for what they are to sign.
func TestNoPKCS11ToolOfAJobHasTheToken(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"openssl", "pkcs11-tool", "cc", "mkfifo"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if err := exec.Command("openssl", "engine", "pkcs11").Run(); err != nil {
		t.Skip("openssl has no engine pkcs11 here (libengine-pkcs11-openssl)")
	}
	e := newEnding(t)
	token := []byte(lookup(e.environ, "SIGNPATH_API_TOKEN"))
	module := filepath.Join(e.dir, "module.so")
	build, err := filepath.Abs("../../scripts/build-module.sh")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := e.bash("exec " + build + " --output " + module).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := e.inJob("--key demo/p-256", `
mkfifo openssl.in pkcs11-tool.in
export PKCS11_MODULE_PATH=`+module+`
openssl dgst -sha256 -engine pkcs11 -keyform engine -sign 'pkcs11:object=demo%2Fp-256;type=private;pin-value=CONFIG' openssl.in >openssl.out 2>&1 &
pkcs11-tool --module "$PKCS11_MODULE_PATH" --login --pin CONFIG --sign --mechanism ECDSA-SHA256 --label demo/p-256 \
  --input-file pkcs11-tool.in --output-file a.sig >pkcs11-tool.out 2>&1 &
touch signed
exec sleep 1000`)
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM)
	e.eventually(func() error {
		for _, name := range []string{"openssl", "pkcs11-tool"} {
			if err := e.hasSession(name, module); err != nil {
				said, _ := os.ReadFile(filepath.Join(e.work, name+".out"))
				return fmt.Errorf("%w\n%s", err, said)
			}
		}
		return e.lookAtJob(cmd.Process.Pid, token, "sleep", "openssl", "pkcs11-tool")
	})
	e.wantNoToken()
}

// hasSession reports whether a program of this test has loaded the module, and waits for its input: it opens that after the session.
func (e *ending) hasSession(name, module string) error {
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		line, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		program, _, _ := strings.Cut(string(line), "\x00")
		maps, err := os.ReadFile(filepath.Join(folder, "maps"))
		if err != nil || filepath.Base(program) != name || !bytes.Contains(maps, []byte(module)) {
			continue
		}
		waits, err := os.ReadFile(filepath.Join(folder, "wchan"))
		if err == nil && strings.Contains(string(waits), "wait_for_partner") {
			return nil
		}
		return fmt.Errorf("%s waits in %q, %v", name, waits, err)
	}
	return fmt.Errorf("%s has not loaded the module", name)
}
