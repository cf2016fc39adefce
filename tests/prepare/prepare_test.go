// Package prepare tests scripts/prepare.sh on machines that do not exist: PATH leads to stand-ins of
// apt-get, docker, dockerd and the tools, and to nothing else but what shell scripts call.
package prepare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait. It is no measure: nothing here takes more than seconds on an idle machine.
const patience = 3 * time.Minute

// basics are real programs.
var basics = strings.Fields(`bash cat cp cut dirname env flock grep head ln mkdir mktemp mv paste rm sed setsid sleep sort tail tee timeout touch tr true`)

// tools are what the jobs look for; each test takes some away.
var tools = strings.Fields(`python3 gcc musl-gcc valgrind pkcs11-tool p11tool openssl javac modutil gpg gpg-agent gnupg-pkcs11-scd dash softhsm2-util rpmbuild
	debsigs debsig-verify dpkg-deb dscverify mvn mmdebstrap docker iptables nginx`)

// machine is a folder with scripts/, bin/, and calls, a line for each call of a stand-in that changes something.
type machine struct {
	t   *testing.T
	dir string
	env []string
}

func newMachine(t *testing.T, missing ...string) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	m.env = []string{"PATH=" + m.path("bin"), "HOME=" + m.path("home"), "TMPDIR=" + m.path("tmp"), "MACHINE=" + m.dir, "STAND_IN_UID=0"}
	for _, dir := range []string{"bin", "home", "tmp", "scripts", "sbin"} {
		if err := os.Mkdir(m.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.write("calls", "", 0o644)
	for _, name := range basics {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("%s is not here", name)
		}
		if err := os.Symlink(program, m.path("bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"prepare.sh", "engine.sh"} {
		text, err := os.ReadFile(filepath.Join("../../scripts", name))
		if err != nil {
			t.Fatal(err)
		}
		// What the real machine has there is not meant.
		m.write("scripts/"+name, strings.NewReplacer(" /usr/sbin/", " "+m.path("sbin")+"/", "/usr/share/man", m.path("man"), "/var/run/", m.path("run")+"/",
			"/usr/include/stdlib.h", m.path("scripts/prepare.sh")).Replace(string(text)), 0o755)
	}
	for _, name := range tools {
		m.standIn(name, "exit 0")
	}
	m.standIn("go", "echo go1.25.0")
	m.standIn("id", `echo "$STAND_IN_UID"`)
	m.standIn("pgrep", "exit 1")
	m.standIn("sudo", `shift; [[ $1 == true ]] || echo "sudo $*" >>"$MACHINE/calls"; exec "$@"`)
	m.standIn("apt-cache", "exit 1")
	m.standIn("systemctl", `echo "systemctl $*" >>"$MACHINE/calls"`)
	// What it installs are the tools that are not here, docker.io's or all others.
	m.standIn("apt-get", `echo "apt-get $*" >>"$MACHINE/calls"
		case " $* " in
			*" install "*)
				echo "apt-get installs" >&2
				for file in "$MACHINE"/shelf/*; do
					case " $* $file" in
						*" docker.io "*/docker* | *" iptables "*/iptables) cp "$file" "$MACHINE/bin/" ;;
						*/docker*) ;;
						*) cp "$file" "$MACHINE/bin/" ;;
					esac
				done
				;;
			*" download "*) [[ $3 == nginx-light ]] || exit 100; touch nginx-light_1_amd64.deb ;;
		esac`)
	m.standIn("docker", `[[ -e $MACHINE/engine ]]`)
	m.standIn("dockerd", `echo "dockerd starts" | tee -a "$MACHINE/calls" >&2
		trap 'echo "dockerd ends" >>"$MACHINE/calls"; rm "$MACHINE/engine"; exit' TERM
		touch "$MACHINE/engine"
		while [[ -d $MACHINE/bin ]]; do sleep 0.1; done`)
	if err := os.Mkdir(m.path("shelf"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range missing {
		if err := os.Rename(m.path("bin", name), m.path("shelf", name)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *machine) path(parts ...string) string {
	return filepath.Join(append([]string{m.dir}, parts...)...)
}

func (m *machine) write(name, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(m.path(name), []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

// standIn is a script; the kernel names its process like the file.
func (m *machine) standIn(name, script string) {
	m.t.Helper()
	if err := os.RemoveAll(m.path("bin", name)); err != nil {
		m.t.Fatal(err)
	}
	m.write("bin/"+name, "#!"+m.path("bin", "bash")+"\n"+script+"\n", 0o755)
}

func (m *machine) calls() string {
	m.t.Helper()
	text, err := os.ReadFile(m.path("calls"))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// command is prepare.sh in a group of its own; what it prints goes to the file.
func (m *machine) command(output *os.File, job string, command ...string) *exec.Cmd {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	m.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, m.path("scripts", "prepare.sh"), append([]string{"--for", job, "--"}, command...)...)
	cmd.Env = m.env
	if output != nil {
		cmd.Stdout, cmd.Stderr = output, output
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// run returns what prepare.sh and the command have printed, and the exit status.
func (m *machine) run(job string, command ...string) (string, int) {
	m.t.Helper()
	output, err := os.CreateTemp(m.t.TempDir(), "")
	if err != nil {
		m.t.Fatal(err)
	}
	defer output.Close()
	var ended *exec.ExitError
	err = m.command(output, job, command...).Run()
	if err != nil && !errors.As(err, &ended) {
		m.t.Fatal(err)
	}
	text, err2 := os.ReadFile(output.Name())
	if err2 != nil {
		m.t.Fatal(err2)
	}
	if ended != nil {
		return string(text), ended.ExitCode()
	}
	return string(text), 0
}

// start returns when the command runs, and its script has got to the end of its first line.
func (m *machine) start(job, first, script string) *exec.Cmd {
	m.t.Helper()
	running := m.path(fmt.Sprintf("running-%d", time.Now().UnixNano()))
	cmd := m.command(nil, job, "bash", "-c", first+"\ntouch "+running+"\n"+script)
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = cmd.Process.Kill() })
	m.eventually("the command runs", func() bool { return m.has(filepath.Base(running)) })
	return cmd
}

func (m *machine) has(name string) bool {
	_, err := os.Lstat(m.path(name))
	return err == nil
}

func (m *machine) eventually(what string, is func() bool) {
	m.t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatalf("not within %v: %s; calls:\n%s", patience, what, m.calls())
		}
	}
}

// inOrder fails unless text has all parts, one after the other.
func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Errorf("no %q, or too early, in\n%s", part, text)
			return
		}
		rest = after
	}
}

func TestNothingIsDoneWhereAllIsThere(t *testing.T) {
	m := newMachine(t)
	m.write("engine", "", 0o644)
	out, status := m.run("test", "bash", "-c", "echo runs; exit 7")
	if out != "runs\n" || status != 7 {
		t.Errorf("status %d, output\n%s", status, out)
	}
	if calls := m.calls(); calls != "" || !m.has("engine") {
		t.Errorf("calls:\n%s", calls)
	}
}

func TestInstallsAfterItHasSaidSo(t *testing.T) {
	m := newMachine(t, "javac", "pkcs11-tool")
	out, status := m.run("unit", "echo", "runs")
	inOrder(t, out, "unit needs pkcs11-tool javac", "SIGNKIT_PREPARE=no forbids it", "for the whole system, with apt-get: default-jdk-headless opensc\n",
		"Java's packages", m.path("man"), "apt-get installs", "runs")
	if status != 0 || strings.Contains(out, "dockerd") {
		t.Errorf("status %d, output\n%s", status, out)
	}
	inOrder(t, m.calls(), "update", "DPkg::Lock::Timeout=", "install -y --no-install-recommends default-jdk-headless opensc\n")
}

func TestForbidden(t *testing.T) {
	for name, env := range map[string][]string{
		"as root":             {"SIGNKIT_PREPARE=no"},
		"in CI":               {"SIGNKIT_PREPARE=no", "CI=true", "STAND_IN_UID=1000"},
		"without being asked": {"STAND_IN_UID=1000"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, "javac", "nginx")
			m.env = append(m.env, env...)
			out, status := m.run("unit", "echo", "runs")
			want := "prepare.sh: unit needs javac nginx, not found here; on Debian and Ubuntu run:  sudo apt-get install -y default-jdk-headless nginx\n"
			if out != want || status != 1 {
				t.Errorf("status %d, output\n%swant\n%s", status, out, want)
			}
			if calls := m.calls(); calls != "" {
				t.Errorf("calls:\n%s", calls)
			}
		})
	}
}

func TestInCIThroughSudo(t *testing.T) {
	m := newMachine(t, "javac")
	m.env = append(m.env, "CI=true", "STAND_IN_UID=1000")
	out, status := m.run("unit", "echo", "runs")
	inOrder(t, out, "SIGNKIT_PREPARE=no forbids it", "default-jdk-headless", "apt-get installs", "runs")
	if status != 0 {
		t.Errorf("status %d", status)
	}
	inOrder(t, m.calls(), "sudo env", "update", "sudo mkdir -p "+m.path("man"), "sudo env", "install")
}

func TestUnknownAnswerToMayItPrepare(t *testing.T) {
	m := newMachine(t)
	m.env = append(m.env, "SIGNKIT_PREPARE=maybe")
	out, status := m.run("unit", "echo", "runs")
	if status != 2 || !strings.Contains(out, `SIGNKIT_PREPARE is "maybe"; it can be yes (the default) or no`) {
		t.Errorf("status %d, output\n%s", status, out)
	}
}

// TestNginxIsNotInstalled: its package would set up a server.
func TestNginxIsNotInstalled(t *testing.T) {
	m := newMachine(t, "nginx")
	m.standIn("dpkg-deb", `mkdir -p "$3/usr/sbin"; cp "$MACHINE/shelf/nginx" "$3/usr/sbin/nginx"`)
	out, status := m.run("unit", "bash", "-c", "command -v nginx")
	inOrder(t, out, "SIGNKIT_PREPARE=no forbids it", "downloaded into "+m.path("home/.cache/signkit/bin")+", not installed: nginx\n",
		m.path("home/.cache/signkit/bin/nginx")+"\n")
	if status != 0 || strings.Contains(out, "for the whole system") {
		t.Errorf("status %d, output\n%s", status, out)
	}
	if calls := m.calls(); strings.Contains(calls, "install") || strings.Contains(calls, "sudo") {
		t.Errorf("calls:\n%s", calls)
	}
	if left, err := filepath.Glob(m.path("home/.cache/signkit/nginx*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
	if out, status := m.run("unit", "nginx"); out != "" || status != 0 {
		t.Errorf("the second time: status %d, output\n%s", status, out)
	}
}

func TestWaitsForAnotherAptGet(t *testing.T) {
	m := newMachine(t, "javac")
	real, err := os.ReadFile(m.path("bin/apt-get"))
	if err != nil {
		t.Fatal(err)
	}
	m.write("bin/apt-get", strings.Replace(string(real), "\n", `
		if [[ " $* " == *" update "* && ! -e $MACHINE/tried ]]; then
			touch "$MACHINE/tried"
			echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)" >&2
			exit 100
		fi
		`, 1), 0o755)
	if out, status := m.run("unit", "true"); status != 0 {
		t.Errorf("status %d, output\n%s", status, out)
	}
}

func TestWhatCannotBeInstalledIsNamed(t *testing.T) {
	m := newMachine(t, "javac")
	m.standIn("apt-get", `[[ " $* " != *" install "* ]] || exit 100`)
	out, status := m.run("unit", "echo", "runs")
	if status != 1 || !strings.Contains(out, "could not be installed: javac\n") || strings.Contains(out, "runs") {
		t.Errorf("status %d, output\n%s", status, out)
	}
}

func TestEngineIsStartedAndStopped(t *testing.T) {
	disabled := "systemctl disable --now docker.socket docker.service containerd.service\n"
	for name, c := range map[string]struct {
		missing []string
		said    string
		calls   []string
	}{
		"it is here":       {nil, "", nil},
		"it is not here":   {[]string{"docker", "dockerd"}, "with apt-get: docker.io iptables\n", []string{"install", "docker.io iptables\n", disabled}},
		"a part is not":    {[]string{"iptables"}, "with apt-get: docker.io iptables\n", []string{"install", "docker.io iptables\n"}},
		"other tools, too": {[]string{"openssl", "docker", "dockerd"}, "with apt-get: docker.io iptables openssl\n", []string{"install", "openssl", "install", "docker.io", disabled}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, c.missing...)
			out, status := m.run("images", "bash", "-c", `docker version && echo "runs${SIGNKIT_NO_ENGINE-}"; exit 7`)
			inOrder(t, out, "images needs", "a Docker engine, not found here", "SIGNKIT_PREPARE=no forbids it", c.said, "started: dockerd", "runs\n")
			if status != 7 {
				t.Errorf("status %d", status)
			}
			inOrder(t, m.calls(), append(c.calls, "dockerd starts", "dockerd ends")...)
			if m.has("engine") {
				t.Error("it runs on")
			}
			if strings.Contains(m.calls(), "systemctl") != strings.Contains(fmt.Sprint(c.calls), "systemctl") {
				t.Errorf("calls:\n%s", m.calls())
			}
		})
	}
}

func TestWithoutEngine(t *testing.T) {
	for name, c := range map[string]struct {
		env, missing []string
		reason, hint string
	}{
		"forbidden":       {[]string{"SIGNKIT_PREPARE=no"}, nil, "no Docker engine answers, and SIGNKIT_PREPARE=no forbids to provide one", "sudo dockerd"},
		"not installed":   {[]string{"SIGNKIT_PREPARE=no"}, []string{"docker", "dockerd"}, "no Docker engine answers, and SIGNKIT_PREPARE=no forbids to provide one", "sudo apt-get install -y docker.io iptables"},
		"not root":        {[]string{"STAND_IN_UID=1000"}, nil, "no Docker engine answers, and only root may start one", ""},
		"somewhere else":  {[]string{"DOCKER_HOST=tcp://192.0.2.1:2376"}, nil, "no Docker engine answers at DOCKER_HOST=tcp://192.0.2.1:2376", ""},
		"without apt-get": {nil, []string{"dockerd", "apt-get"}, "no Docker engine answers, and it cannot be installed here", "sudo apt-get install -y docker.io iptables"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, c.missing...)
			m.env = append(m.env, c.env...)
			out, status := m.run("test", "bash", "-c", `echo "runs without: $SIGNKIT_NO_ENGINE"`)
			if status != 0 || !strings.HasSuffix(out, "going on without containers: "+c.reason+"\nruns without: "+c.reason+"\n") || !strings.Contains(out, c.hint) {
				t.Errorf("status %d, output\n%s", status, out)
			}
			if calls := m.calls(); calls != "" {
				t.Errorf("calls:\n%s", calls)
			}
		})
	}
}

// TestDemoWithoutEngineNeedsTools: the machine's own openssl signs then.
func TestDemoWithoutEngineNeedsTools(t *testing.T) {
	m := newMachine(t, "p11tool")
	m.env = append(m.env, "SIGNKIT_PREPARE=no")
	out, status := m.run("demo", "echo", "runs")
	if status != 1 || !strings.Contains(out, "sudo apt-get install -y gnutls-bin\n") || strings.Contains(out, "runs") {
		t.Errorf("status %d, output\n%s", status, out)
	}
}

func TestEngineThatDoesNotStart(t *testing.T) {
	m := newMachine(t)
	m.standIn("dockerd", `echo 'level=info msg="Starting up"'; echo "failed to start daemon: no space"; exit 1`)
	out, status := m.run("test", "bash", "-c", `echo "runs without: $SIGNKIT_NO_ENGINE"`)
	if status != 0 {
		t.Errorf("status %d", status)
	}
	inOrder(t, out, "started: dockerd", "going on without containers: dockerd does not start: failed to start daemon: no space (see "+m.path("build/dockerd.log"), "runs without: dockerd does not")
}

// TestEngineEndsWithItsCommand, however that ends.
func TestEngineEndsWithItsCommand(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			m := newMachine(t)
			// The command's own cleaning up can still use the engine.
			cmd := m.start("images", `trap 'docker version && touch "$MACHINE/cleaned"; exit 9' INT TERM HUP`, `for ((i = 0; i < 3000; i++)); do sleep 0.1; done`)
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if signal != syscall.SIGKILL {
				if status := cmd.ProcessState.ExitCode(); status != 9 || !m.has("cleaned") {
					t.Errorf("status %d", status)
				}
				if m.has("engine") {
					t.Error("prepare.sh ended before the engine")
				}
			}
			m.eventually("the engine has ended", func() bool { return !m.has("engine") })
			inOrder(t, m.calls(), "dockerd starts", "dockerd ends")
		})
	}
}

// TestEngineEndsWithTheLastCommand: others started meanwhile share it.
func TestEngineEndsWithTheLastCommand(t *testing.T) {
	m := newMachine(t)
	wait := `for ((i = 0; i < 3000; i++)); do if [[ -e "$MACHINE/%s" ]]; then exit 0; fi; sleep 0.1; done; exit 1`
	first := m.start("images", "", fmt.Sprintf(wait, "end-first"))
	second := m.start("demo", "", fmt.Sprintf(wait, "end-second"))
	m.write("end-first", "", 0o644)
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	if !m.has("engine") {
		t.Error("the first command has stopped the second one's engine")
	}
	m.write("end-second", "", 0o644)
	if err := second.Wait(); err != nil {
		t.Error(err)
	}
	m.eventually("the engine has ended", func() bool { return !m.has("engine") })
	if calls := m.calls(); calls != "dockerd starts\ndockerd ends\n" {
		t.Errorf("calls:\n%s", calls)
	}
}

// TestOneEngineForCommandsAtATime: those that find none at the same moment.
func TestOneEngineForCommandsAtATime(t *testing.T) {
	m := newMachine(t)
	m.standIn("docker", `sleep 0.2; [[ -e $MACHINE/engine ]]`)
	var all []*exec.Cmd
	for range 4 {
		cmd := m.command(nil, "images", "bash", "-c", "sleep 0.5; docker version")
		var errors bytes.Buffer
		cmd.Stderr = &errors
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, cmd.Stderr)
		}
	}
	m.eventually("the engine has ended", func() bool { return !m.has("engine") })
	if calls := m.calls(); strings.Contains(calls, "dockerd starts\ndockerd starts") {
		t.Errorf("calls:\n%s", calls)
	}
}
