package main

import (
	"bufio"
	"encoding/hex"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"signkit/gpgagent/keyfile"
	"signkit/internal/mockapi"
)

// piped is a bridge that a test started itself, as gpg-agent does.
type piped struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	home string
	done bool
}

// startBridge starts a bridge in a fresh folder and reads its greeting.
func startBridge(t *testing.T, environ []string, args ...string) *piped {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	return startBridgeIn(t, home, environ, args...)
}

func startBridgeIn(t *testing.T, home string, environ []string, args ...string) *piped {
	t.Helper()
	cmd := exec.Command(program(t, "signkit-scdaemon"), append([]string{"--multi-server", "--homedir", home}, args...)...)
	cmd.Dir, cmd.Env = "/", append([]string{"TMPDIR=" + os.TempDir(), "GORACE=" + noRaceDelay}, environ...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// Nothing may be written there.
	stderr := new(strings.Builder)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &piped{t: t, cmd: cmd, in: in, out: newReader(t, out), home: home}
	t.Cleanup(func() {
		p.end()
		if stderr.Len() > 0 {
			t.Errorf("standard error: %s", stderr)
		}
	})
	if got := readLine(t, p.out); got != "OK signkit-scdaemon ready" {
		t.Fatalf("greeting %q", got)
	}
	return p
}

// end closes the pipe and waits for the bridge, which must end well.
func (p *piped) end() {
	p.t.Helper()
	_ = p.in.Close()
	p.wait()
}

func (p *piped) wait() {
	p.t.Helper()
	if p.done {
		return
	}
	p.done = true
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	_, _ = io.Copy(io.Discard, p.out)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the bridge ended with %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(p.home, "signkit-scd-*")); len(left) > 0 {
		p.t.Errorf("the bridge left %v", left)
	}
}

// bounded is what a test reads from; it never waits for ever.
type bounded struct {
	io.Reader
	setDeadline func(time.Time) error
}

func (b bounded) Read(p []byte) (int, error) {
	if err := b.setDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return b.Reader.Read(p)
}

func newReader(t *testing.T, r io.Reader) *bufio.Reader {
	t.Helper()
	d, ok := r.(interface{ SetReadDeadline(time.Time) error })
	if !ok {
		t.Fatalf("%T knows no deadlines", r)
	}
	return bufio.NewReader(bounded{r, d.SetReadDeadline})
}

func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("after %q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (p *piped) ask(line string) string { p.t.Helper(); return ask(p.t, p.in, p.out, line) }

// ask sends a line and returns everything up to OK or ERR.
func ask(t *testing.T, in io.Writer, out *bufio.Reader, line string) string {
	t.Helper()
	if _, err := io.WriteString(in, line+"\n"); err != nil {
		t.Fatal(err)
	}
	var answer []string
	for {
		answer = append(answer, readLine(t, out))
		if last := answer[len(answer)-1]; last == "OK" || strings.HasPrefix(last, "OK ") || strings.HasPrefix(last, "ERR ") {
			return strings.Join(answer, "\n")
		}
	}
}

func (p *piped) socket() string {
	p.t.Helper()
	answer := p.ask("GETINFO socket_name")
	path, ok := strings.CutSuffix(strings.TrimPrefix(answer, "D "), "\nOK")
	if !ok {
		p.t.Fatalf("GETINFO socket_name: %q", answer)
	}
	return path
}

// connect opens a further connection and reads its greeting.
func (p *piped) connect() (net.Conn, *bufio.Reader) {
	p.t.Helper()
	conn, err := net.DialTimeout("unix", p.socket(), patience)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	out := newReader(p.t, conn)
	if got := readLine(p.t, out); got != "OK signkit-scdaemon ready" {
		p.t.Fatalf("greeting %q", got)
	}
	return conn, out
}

func TestSocketLiesInAPrivateFolderOfTheGNUPGHOME(t *testing.T) {
	p := startBridge(t, nil)
	socket := p.socket()
	if !strings.HasPrefix(socket, p.home+"/") || len(socket) > 107 {
		t.Errorf("socket %s, want it in %s", socket, p.home)
	}
	if info, err := os.Stat(filepath.Dir(socket)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v; want 0700", info.Mode(), err)
	}
	conn, out := p.connect()
	if got := ask(t, conn, out, "SERIALNO --all"); !strings.HasPrefix(got, "S SERIALNO ") {
		t.Errorf("SERIALNO: %q", got)
	}
}

// Where the GNUPGHOME cannot hold a socket another folder does.
func TestSocketOfALongGNUPGHOME(t *testing.T) {
	home := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	p := startBridgeIn(t, home, nil)
	if socket := p.socket(); strings.HasPrefix(socket, home) || len(socket) > 107 {
		t.Errorf("socket %s", socket)
	}
}

// Without a GNUPGHOME there is no log, but a card.
func TestAGNUPGHOMEThatDoesNotExist(t *testing.T) {
	cmd := command(t, program(t, "signkit-scdaemon"), "--multi-server", "--homedir=/nowhere")
	cmd.Env = []string{"TMPDIR=/nowhere", "GORACE=" + noRaceDelay}
	cmd.Stdin = strings.NewReader("SERIALNO\nKEYINFO --list\nBYE\n")
	out, err := cmd.CombinedOutput()
	want := "OK signkit-scdaemon ready\nS SERIALNO D2760001240103045369676E4B690000\nOK\nOK\nOK closing connection\n"
	if err != nil || string(out) != want {
		t.Errorf("%v, %q", err, out)
	}
	if _, err := os.Stat("/nowhere"); err == nil {
		t.Error("the bridge made the GNUPGHOME")
	}
}

func TestTheEndOfThePipeEndsTheBridge(t *testing.T) {
	p := startBridge(t, nil)
	conn, out := p.connect()
	p.end()
	if _, err := out.ReadByte(); err == nil {
		t.Error("the other connection is still open")
	}
	_ = conn
}

func TestSIGTERMEndsTheBridge(t *testing.T) {
	p := startBridge(t, nil)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.wait()
}

func TestSIGHUPDoesNotEndTheBridge(t *testing.T) {
	p := startBridge(t, nil)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if got := p.ask("NOP"); got != "OK" {
		t.Errorf("NOP: %q", got)
	}
}

// Said on any connection, since gpg-agent takes whichever is free.
func TestKILLSCDEndsTheBridge(t *testing.T) {
	p := startBridge(t, nil)
	if got := p.ask("killscd"); got != "OK" {
		t.Errorf("on the pipe: %q", got)
	}
	p.wait()
	p = startBridge(t, nil)
	conn, out := p.connect()
	if got := ask(t, conn, out, "KILLSCD"); got != "OK" {
		t.Errorf("on the socket: %q", got)
	}
	p.wait()
}

// signNothing is a PKSIGN of some digest.
func signNothing(in io.Writer, grip string) error {
	data := "3031300D060960864801650304020105000420" + hex.EncodeToString(make([]byte, 32))
	_, err := io.WriteString(in, "SETDATA "+data+"\nPKSIGN --hash=sha256 "+grip+"\n")
	return err
}

// bridgeWithKey is a bridge with one key of the service.
func bridgeWithKey(t *testing.T, s *mockapi.Server, settings ...string) (p *piped, grip string) {
	t.Helper()
	g := newGnuPG(t, s, []string{"p-256"})
	g.run("gpgconf", "--kill", "gpg-agent")
	list, err := keyfile.Load(g.path(keyfile.Name))
	if err != nil {
		t.Fatal(err)
	}
	s.ClearRequests()
	return startBridgeIn(t, g.dir, append(s.Environment(), settings...)), list.Keys[0].Keygrip
}

// The ends of the bridge do not wait for the service, whichever connection its
// call belongs to.
func TestTheEndCancelsCallsOfTheService(t *testing.T) {
	for name, end := range map[string]func(*piped){
		"end of file": func(p *piped) { p.end() },
		"SIGTERM":     func(p *piped) { _ = p.cmd.Process.Signal(syscall.SIGTERM); p.wait() },
	} {
		t.Run(name, func(t *testing.T) {
			s := startService(t, 0)
			p, grip := bridgeWithKey(t, s)
			setFault(t, s, mockapi.Fault{Route: "sign", Kind: "hang", Count: 2})
			conn, _ := p.connect()
			for i, in := range []io.Writer{p.in, conn} {
				if err := signNothing(in, grip); err != nil {
					t.Fatal(err)
				}
				waitRequests(t, s, i+1)
			}
			end(p)
		})
	}
}

// The first signature of a bridge is one request, and so is each further one.
func TestAFreshBridgeMakesOneRequestForASignature(t *testing.T) {
	s := startService(t, 0)
	p, grip := bridgeWithKey(t, s)
	for i := range 3 {
		if err := signNothing(p.in, grip); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"OK", "D ", "OK"} {
			if got := readLine(t, p.out); !strings.HasPrefix(got, want) {
				t.Fatalf("answer %q, want %q", got, want)
			}
		}
		if n := signRequests(t, s); n != i+1 {
			t.Errorf("%d requests for %d signatures", n, i+1)
		}
	}
}

// The bridge signs for every gpg of the machine: a bound of its own, unless the settings have one.
func TestSignaturesUnderWayAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		settings []string
		want     int
	}{
		"by itself": {nil, parallel}, "by the settings": {[]string{"SIGNKIT_MAX_PARALLEL=3"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startService(t, 0)
			p, grip := bridgeWithKey(t, s, test.settings...)
			setFault(t, s, mockapi.Fault{Route: "sign", Kind: "hang", Count: -1})
			for range test.want + 4 {
				conn, _ := p.connect()
				if err := signNothing(conn, grip); err != nil {
					t.Fatal(err)
				}
			}
			waitRequests(t, s, test.want)
			time.Sleep(100 * time.Millisecond) // in which a further one would come
			if n := signRequests(t, s); n != test.want {
				t.Errorf("%d requests are under way, want %d", n, test.want)
			}
			p.end()
		})
	}
}

// The service files who asked: the process that started the bridge, here this
// test.
func TestTheServiceIsToldWhoAsked(t *testing.T) {
	s := startService(t, 0)
	p, grip := bridgeWithKey(t, s)
	if err := signNothing(p.in, grip); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		readLine(t, p.out)
	}
	audit, err := os.ReadFile(s.AuditFile())
	if err != nil {
		t.Fatal(err)
	}
	if self := filepath.Base(os.Args[0]); !strings.Contains(string(audit), self) {
		t.Errorf("no %s in %s", self, audit)
	}
}

func TestLogFiles(t *testing.T) {
	folder := t.TempDir()
	p := startBridge(t, []string{"SIGNPATH_LOG_FILE_DIRECTORY=" + folder, "SIGNPATH_LOG_FILE_LEVEL=info",
		// What the images set. Nothing may be written to the console nevertheless.
		"SIGNPATH_LOG_CONSOLE_LEVEL=verbose", "SIGNPATH_LOG_CONSOLE_OUTPUT_STREAM=stdout", "SIGNPATH_API_URL=::"})
	if got := p.ask("SERIALNO"); !strings.HasPrefix(got, "S SERIALNO") {
		t.Errorf("SERIALNO: %q", got)
	}
	p.end()
	for _, dir := range []string{p.home, folder} {
		path := filepath.Join(dir, "SignPath.CryptoProviders.GnuPG.txt")
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "started") || !strings.Contains(string(text), "SIGNPATH_API_URL") {
			t.Errorf("%v, %s", err, text)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v; want 0600", path, info.Mode(), err)
		}
	}
	alias := filepath.Join(p.home, "gnupg-pkcs11-scd.log")
	if text, err := os.ReadFile(alias); err != nil || !strings.Contains(string(text), "started") {
		t.Errorf("%s: %v, %q", alias, err, text)
	}
}

func TestNoLogFilesWhereTheyAreTurnedOff(t *testing.T) {
	p := startBridge(t, []string{"SIGNPATH_LOG_FILE_LEVEL=none"})
	p.ask("NOP")
	p.end()
	if left, err := os.ReadDir(p.home); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestProtection(t *testing.T) {
	out, err := command(t, program(t, "show-protection")).CombinedOutput()
	if err != nil || string(out) != "dumpable 0 <nil>\n" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestVersion(t *testing.T) {
	out, err := command(t, program(t, "signkit-scdaemon"), "--version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "signkit-scdaemon ") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestParse(t *testing.T) {
	home := []string{"HOME=/home/x"}
	t.Setenv("HOME", "/home/x")
	for name, test := range map[string]struct {
		args, environ []string
		want          options
	}{
		"nothing":             {nil, home, options{home: "/home/x/.gnupg"}},
		"as gpg-agent":        {[]string{"--multi-server", "--homedir", "/h"}, home, options{home: "/h"}},
		"in one word":         {[]string{"--homedir=/h", "--server"}, home, options{home: "/h"}},
		"environment":         {[]string{"--multi-server"}, []string{"GNUPGHOME=/e", "GNUPGHOME=/f"}, options{home: "/e"}},
		"both":                {[]string{"--homedir", "/h"}, []string{"GNUPGHOME=/e"}, options{home: "/h"}},
		"no value":            {[]string{"--homedir"}, []string{"GNUPGHOME=/e"}, options{home: "/e"}},
		"unknown":             {[]string{"--debug", "x", "--homedir", "/h", "-v"}, home, options{home: "/h"}},
		"version":             {[]string{"--version"}, []string{"GNUPGHOME=/e"}, options{home: "/e", version: true}},
		"empty is not a home": {nil, []string{"GNUPGHOME="}, options{home: "/home/x/.gnupg"}},
	} {
		if got := parse(test.args, test.environ); got != test.want {
			t.Errorf("%s: parse = %+v, want %+v", name, got, test.want)
		}
	}
	if help := parse([]string{"--help"}, home).help; !strings.Contains(help, "--homedir DIR") {
		t.Errorf("--help says %q", help)
	}
}
