package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"signkit/gpgagent/keyfile"
	"signkit/internal/config"
	"signkit/internal/gnupgtest"
	"signkit/internal/key"
	"signkit/internal/keygrip"
	"signkit/internal/mockapi"
	"signkit/internal/pgpkey"
	"signkit/internal/process"
	"signkit/internal/signpath"
)

// patience is for what does not hang: far more than it takes.
const patience = 2 * time.Minute

// noRaceDelay is a setting of the race detector, in GORACE.
const noRaceDelay = "atexit_sleep_ms=0"

// TestMain makes this binary the bridge where it is started as one.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "signkit-scdaemon":
		main()
		os.Exit(0)
	case "show-protection":
		process.Protect()
		dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		fmt.Println("dumpable", dumpable, err)
		os.Exit(0)
	}
	// A program with the race detector otherwise waits a second before it ends.
	os.Setenv("GORACE", noRaceDelay)
	os.Exit(gnupgtest.M{M: m}.Run())
}

// TestWithAndWithoutRunUser: gpg-agent puts its sockets into the folder that the user has in /run/user, if there is one.
func TestWithAndWithoutRunUser(t *testing.T) {
	needGnuPG(t)
	gnupgtest.InRunUser(t, "^Test(GPGSigns|KilledAgent|KillSCD|TheEndCancels)")
}

// program is this binary under another name.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// startService starts a mock service for one test.
func startService(t *testing.T, latency time.Duration) *mockapi.Server {
	t.Helper()
	cfg := mockapi.DefaultConfig()
	cfg.LatencyMS = int(latency.Milliseconds())
	s, err := mockapi.Start(mockapi.Options{StateDir: t.TempDir(), Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		_ = s.Close(ctx)
	})
	return s
}

// gnupg is a GNUPGHOME whose gpg-agent uses the bridge.
type gnupg struct {
	t    *testing.T
	dir  string
	env  []string
	keys map[string]*pgpkey.Key // by policy or label
}

// newGnuPG makes a GNUPGHOME with keys of the service. Further settings go into
// gpg-agent's environment; without a service there are neither settings nor keys.
func newGnuPG(t *testing.T, s *mockapi.Server, policies []string, settings ...string) *gnupg {
	t.Helper()
	needGnuPG(t)
	dir, err := os.MkdirTemp("", "gpg-") // t.TempDir's names leave little room for socket addresses
	if err != nil {
		t.Fatal(err)
	}
	g := &gnupg{t: t, dir: dir, keys: map[string]*pgpkey.Key{}}
	g.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GNUPGHOME=" + dir, "LANG=C.UTF-8",
		"GORACE=" + noRaceDelay + " log_path=" + filepath.Join(dir, "race"), "SIGNPATH_LOG_FILE_LEVEL=info"}
	if s != nil {
		g.env = append(g.env, s.Environment()...)
	}
	g.env = append(g.env, settings...)
	t.Cleanup(g.end)
	g.configure()
	for _, policy := range policies {
		g.addPolicy(s, policy)
	}
	return g
}

func needGnuPG(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"gpg", "gpg-agent", "gpgconf", "gpg-connect-agent"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (packages gpg, gpg-agent)", tool)
		}
	}
}

func (g *gnupg) path(name string) string { return filepath.Join(g.dir, name) }

func (g *gnupg) write(name, text string, mode os.FileMode) {
	g.t.Helper()
	if err := os.WriteFile(g.path(name), []byte(text), mode); err != nil {
		g.t.Fatal(err)
	}
}

// configure writes gpg-agent.conf. A pinentry that is asked leaves a file.
func (g *gnupg) configure() {
	g.t.Helper()
	g.write("pinentry", "#!/bin/sh\ntouch '"+g.path("pinentry-was-asked")+"'\nexit 1\n", 0o700)
	g.write("gpg-agent.conf", "scdaemon-program "+program(g.t, "signkit-scdaemon")+
		"\npinentry-program "+g.path("pinentry")+"\nlog-file "+g.path("gpg-agent.log")+"\n", 0o600)
}

// endAgent stops the agent of a home and removes the folder for its sockets.
func (g *gnupg) endAgent(home string) {
	for _, what := range [][]string{{"--kill", "gpg-agent"}, {"--remove-socketdir"}} {
		// Not with the test's context, which has ended by now.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(g.t.Context()), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "gpgconf", append([]string{"--homedir", home}, what...)...)
		cmd.Env = g.env
		if out, err := cmd.CombinedOutput(); err != nil {
			g.t.Errorf("ending gpg-agent: %v\n%s", err, out)
		}
	}
}

// end stops the agent and looks for what must not have happened.
func (g *gnupg) end() {
	g.endAgent(g.dir)
	if _, err := os.Stat(g.path("pinentry-was-asked")); err == nil {
		g.t.Error("a pinentry was asked")
	}
	races, _ := filepath.Glob(g.path("race*"))
	for _, race := range races {
		text, _ := os.ReadFile(race)
		g.t.Errorf("in the bridge: %s", text)
	}
	if g.t.Failed() {
		for _, name := range []string{"gpg-agent.log", "SignPath.CryptoProviders.GnuPG.txt"} {
			text, _ := os.ReadFile(g.path(name))
			g.t.Logf("end of %s:\n%s", name, text[max(0, len(text)-4000):])
		}
	}
	// The bridge may still be writing of a signature that was cancelled.
	deadline := time.Now().Add(patience)
	for os.RemoveAll(g.dir) != nil {
		if time.Now().After(deadline) {
			g.t.Errorf("%s cannot be removed", g.dir)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// command is a program that ends with the test, or when it takes far too long.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = patience // a daemon may hold its output open
	return cmd
}

// command is a program in a session of its own: without a terminal, and without
// anything to read.
func (g *gnupg) command(name string, args ...string) *exec.Cmd {
	cmd := command(g.t, name, args...)
	cmd.Env = g.env
	cmd.Dir = g.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

func (g *gnupg) run(name string, args ...string) string {
	g.t.Helper()
	out, err := g.command(name, args...).CombinedOutput()
	if err != nil {
		g.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (g *gnupg) gpg(args ...string) string {
	g.t.Helper()
	return g.run("gpg", append([]string{"--batch", "--yes"}, args...)...)
}

// refused runs gpg, which must fail without leaving a file, and returns its output.
func (g *gnupg) refused(output string, args ...string) string {
	g.t.Helper()
	out, err := g.command("gpg", append([]string{"--batch", "--yes", "--status-fd", "1", "-o", output}, args...)...).CombinedOutput()
	if err == nil {
		g.t.Fatalf("gpg %s succeeded\n%s", strings.Join(args, " "), out)
	}
	if _, err := os.Stat(output); err == nil {
		g.t.Errorf("gpg %s failed and left %s", strings.Join(args, " "), output)
	}
	return string(out)
}

// agent asks gpg-agent and returns the answer without its OK.
func (g *gnupg) agent(line string) string {
	g.t.Helper()
	out := g.run("gpg-connect-agent", line, "/bye")
	answer, ok := strings.CutSuffix(out, "OK\n")
	if !ok {
		g.t.Fatalf("%s: %s", line, out)
	}
	return strings.TrimPrefix(strings.TrimSpace(answer), "D ")
}

// log is what the bridge has logged.
func (g *gnupg) log() string {
	text, err := os.ReadFile(g.path("SignPath.CryptoProviders.GnuPG.txt"))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(text)
}

// addPolicy sets a key of the service up, as signkit gpg init does.
func (g *gnupg) addPolicy(s *mockapi.Server, policy string) {
	g.t.Helper()
	cfg, err := config.Load(s.Environment(), "/")
	if err != nil {
		g.t.Fatal(err)
	}
	client, err := signpath.New(cfg, signpath.Options{})
	if err != nil {
		g.t.Fatal(err)
	}
	defer client.Close()
	keys, err := client.Policies(g.t.Context(), signpath.Filter{ProjectSlug: "demo", SigningPolicySlug: policy})
	if err != nil || len(keys) != 1 {
		g.t.Fatalf("policy %s: %d keys, %v", policy, len(keys), err)
	}
	g.add(policy, keys[0], func(e *keyfile.Entry) { e.SignPath = &keyfile.SignPath{Project: "demo", Policy: policy} })
}

// created is when all keys of the tests were.
var created = time.Unix(1700000000, 0).UTC()

// add makes an OpenPGP key of a signer, enters it into the key list, imports it
// and lets gpg-agent learn it.
func (g *gnupg) add(name string, signer key.Signer, source func(*keyfile.Entry)) {
	g.t.Helper()
	key, err := pgpkey.Create(g.t.Context(), signer, pgpkey.Options{Name: name, Email: "x@example.org", Created: created})
	if err != nil {
		g.t.Fatal(err)
	}
	e := keyfile.Entry{Fingerprint: key.Fingerprint(), Created: key.Created(), UserID: key.UserID()}
	if e.Keygrip, err = keygrip.Of(signer.Public()); err != nil {
		g.t.Fatal(err)
	}
	if e.Public, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
		g.t.Fatal(err)
	}
	source(&e)
	if err := keyfile.Add(g.path(keyfile.Name), e); err != nil {
		g.t.Fatal(err)
	}
	text, err := key.Armor()
	if err != nil {
		g.t.Fatal(err)
	}
	g.write(name+".asc", string(text), 0o600)
	g.gpg("--import", g.path(name+".asc"))
	g.agent("LEARN")
	g.keys[name] = key
}

// sign makes a detached signature of a fresh file and returns the names of both.
func (g *gnupg) sign(key string, options ...string) (file, signature string) {
	g.t.Helper()
	file, signature = g.file(), ""
	signature = file + ".sig"
	g.gpg(append(options, "-u", g.keys[key].Fingerprint(), "-o", signature, "--detach-sign", file)...)
	return file, signature
}

var fileNumber struct {
	sync.Mutex
	n int
}

// file writes a file that no other has the text of.
func (g *gnupg) file() string {
	g.t.Helper()
	fileNumber.Lock()
	fileNumber.n++
	name := fmt.Sprintf("file-%d", fileNumber.n)
	fileNumber.Unlock()
	g.write(name, "contents of "+name+"\n", 0o600)
	return g.path(name)
}

// verifier is a gpg that has public keys only.
func (g *gnupg) verifier() func(args ...string) error {
	g.t.Helper()
	home := g.t.TempDir()
	g.t.Cleanup(func() { g.endAgent(home) })
	run := func(args ...string) error {
		cmd := g.command("gpg", append([]string{"--homedir", home, "--batch", "--no-autostart", "--trust-model", "always"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("gpg %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	for name := range g.keys {
		if err := run("--import", g.path(name+".asc")); err != nil {
			g.t.Fatal(err)
		}
	}
	return run
}

// signRequests counts the requests for a signature, and fails on any other.
func signRequests(t *testing.T, s *mockapi.Server) int {
	t.Helper()
	requests := s.Requests()
	for _, r := range requests {
		if r.Method != "POST" || !strings.HasSuffix(r.Path, "/SignHash") {
			t.Errorf("request %s %s", r.Method, r.Path)
		}
	}
	return len(requests)
}

// waitRequests waits until so many requests have arrived.
func waitRequests(t *testing.T, s *mockapi.Server, count int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for len(s.Requests()) < count {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests, want %d", len(s.Requests()), count)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// foreign is a process that is not our child.
type foreign struct {
	pid int
	fd  int
}

// bridgeProcess is the bridge that gpg-agent uses now.
func (g *gnupg) bridgeProcess() foreign {
	g.t.Helper()
	return g.process(g.agent("SCD GETINFO pid"))
}

func (g *gnupg) process(pid string) foreign {
	g.t.Helper()
	var p foreign
	if _, err := fmt.Sscan(pid, &p.pid); err != nil {
		g.t.Fatalf("process id %q: %v", pid, err)
	}
	var err error
	if p.fd, err = unix.PidfdOpen(p.pid, 0); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = unix.Close(p.fd) })
	return p
}

// waitEnd waits until the process has ended.
func (p foreign) waitEnd(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			t.Fatal(err)
		case n == 0:
			t.Fatalf("process %d is still there", p.pid)
		default:
			return
		}
	}
}

func (p foreign) kill(t *testing.T) {
	t.Helper()
	if err := unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	p.waitEnd(t)
}

// sameFile reports whether two files have the same contents.
func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}
