package moduletest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"signkit/internal/agent"
	"signkit/internal/config"
	"signkit/internal/logging"
	"signkit/internal/mockapi"
	"signkit/internal/signpath"
	"signkit/pkcs11/wire"
)

// throughAgent is an environment in which there is no token, and no token process could be started.
func throughAgent(path string, more ...string) []string {
	return append([]string{"SIGNKIT_AGENT=" + path, "SIGNPATH_API_TOKEN=", "SIGNPATH_ORGANIZATION_ID=",
		"SIGNKIT_TOKEND=/nonexistent/signkit-tokend"}, more...)
}

// socketFolder is short enough for sockets.
func socketFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sa")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serveAgent serves until end is called, or the test ends.
func serveAgent(t *testing.T, path string, service *mockapi.Server, change func(*agent.Options)) (end func()) {
	t.Helper()
	cfg, err := config.Load(service.Environment(), "/")
	if err != nil {
		t.Fatal(err)
	}
	client, err := signpath.New(cfg, signpath.Options{})
	if err != nil {
		t.Fatal(err)
	}
	options := agent.Options{Config: cfg, Client: client, Logger: slog.New(slog.DiscardHandler), Console: func(stderr *os.File) *slog.Logger {
		logger, _, _ := logging.New(logging.Options{ConsoleLevel: logging.Error, Console: logging.NewBoundedWriter(stderr, time.Minute)})
		return logger
	}}
	if change != nil {
		change(&options)
	}
	sockets, err := agent.Listen(path, len(options.AllowUIDs) > 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- agent.New(options).Serve(ctx, sockets) }()
	once := false
	end = func() {
		if once {
			return
		}
		once = true
		cancel()
		select {
		case err := <-ended:
			if err := errors.Join(err, sockets.Close()); err != nil {
				t.Error(err)
			}
		case <-time.After(bound):
			t.Error("the agent does not end")
		}
		client.Close()
	}
	t.Cleanup(end)
	return end
}

// serveAgentOf is an agent of the variant's version: for what is shipped, the program that is shipped with it, which is
// killed in the end.
func serveAgentOf(t *testing.T, v variant, path string, service *mockapi.Server) (end func()) {
	t.Helper()
	if !strings.HasPrefix(v.name, "shipped") {
		return serveAgent(t, path, service, nil)
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(v.module), "signkit"), "agent", "--socket", path)
	cmd.Env = append(service.Environment(), testID(t))
	out, err := cmd.StdoutPipe()
	if err := errors.Join(err, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	once := false
	end = func() {
		if !once {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		once = true
	}
	t.Cleanup(end)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "export SIGNKIT_AGENT="+path+"\n" {
		t.Fatalf("signkit agent says %q, %v", line, err)
	}
	return end
}

// aboutTokenProcesses are the hosts that look at the process which an agent takes the place of.
var aboutTokenProcesses = map[string]bool{
	"token process killed": true, "token process stopped": true, "stopped for longer than silence may last": true,
	"is a subreaper": true, "is PID 1": true, "is about to make a namespace": true,
	"runs on an old kernel": true, "replaces descriptors during a call": true, "fork in a signal handler": true,
	"makes all sockets non-blocking": true, "more threads than the token process takes sockets from": true,
}

// TestHostsThroughAnAgent: what a token process is to a host, an agent is as well, and no process is started.
func TestHostsThroughAnAgent(t *testing.T) {
	t.Parallel()
	dir := socketFolder(t)
	for i, v := range shared.variant {
		if v.why == "" {
			serveAgentOf(t, v, filepath.Join(dir, fmt.Sprint(i)), shared.service)
		}
	}
	t.Run("group", func(t *testing.T) { // the agents end after them
		for i, v := range shared.variant {
			path := filepath.Join(dir, fmt.Sprint(i))
			for _, h := range hosts {
				if aboutTokenProcesses[h.name] {
					continue
				}
				t.Run(v.name+"/"+h.name, func(t *testing.T) {
					v.need(t)
					if h.unloads && v.neverUnloads() {
						return
					}
					t.Parallel()
					key := "demo/p-256"
					if strings.HasPrefix(h.name, "signs ") || strings.HasPrefix(h.name, "return") {
						key = "demo/rsa-2048"
					}
					run := host{args: append([]string{v.program(t, h.program), v.module, key}, h.args...), env: throughAgent(path)}
					shared.mustRun(t, run, key, "hello", h.signatures)
				})
			}
			for _, limits := range []struct {
				name       string
				signatures int
			}{{"two-later", 1}, {"operations", 5}} {
				t.Run(v.name+"/"+limits.name, func(t *testing.T) {
					v.need(t)
					t.Parallel()
					run := host{args: []string{v.program(t, "limits"), v.module, "demo/p-256", limits.name}, env: throughAgent(path)}
					shared.mustRun(t, run, "demo/p-256", "hello", limits.signatures)
				})
			}
		}
	})
}

// TestAgentIsAskedForOnePolicyOnce: whatever the number of hosts.
func TestAgentIsAskedForOnePolicyOnce(t *testing.T) {
	t.Parallel()
	own := ownServiceFor(t)
	path := filepath.Join(socketFolder(t), "agent")
	serveAgent(t, path, own.server, nil)
	for range 3 {
		shared.mustRun(t, host{args: []string{shared.program(t, "sign", "cc"), shared.variant[0].module, "demo/p-256"}, env: throughAgent(path)}, "demo/p-256", "hello", 2)
	}
	policies, connections := 0, map[int64]bool{}
	for _, r := range own.server.Requests() {
		connections[int64(r.Connection)] = true
		if strings.Contains(r.Path, "MySigningPolicies") {
			policies++
		}
	}
	if policies != 1 || len(connections) != 1 {
		t.Errorf("%d requests for the policy on %d connections", policies, len(connections))
	}
}

// TestLossOfTheAgent: the host gets what it would get with a token process, and is served by the next agent.
func TestLossOfTheAgent(t *testing.T) {
	t.Parallel()
	for _, v := range shared.variant {
		for _, when := range []string{"between", "during"} {
			t.Run(v.name+"/"+when, func(t *testing.T) {
				v.need(t)
				t.Parallel()
				own := ownServiceFor(t)
				if when == "during" {
					if err := own.server.SetFaults([]mockapi.Fault{{Route: "sign", Kind: "hang", Count: 1}}); err != nil {
						t.Fatal(err)
					}
				}
				path := filepath.Join(socketFolder(t), "agent")
				end := serveAgentOf(t, v, path, own.server)
				signing := func() {
					if when == "between" {
						end()
						return
					}
					for deadline := time.Now().Add(bound); !asked(own.server, "SignHash"); time.Sleep(5 * time.Millisecond) {
						if time.Now().After(deadline) {
							t.Error("no signature is asked for")
							return
						}
					}
					end()
				}
				again := func() { serveAgentOf(t, v, path, own.server) }
				out, stderr := converse(t, []string{v.program(t, "agent_lost"), v.module, "demo/p-256", when},
					shared.environment(t, throughAgent(path)...), map[string]func(){"ready": signing, "lost": again})
				if n := shared.verify(t, out, "demo/p-256", "hello"); n != 1 {
					t.Errorf("%d signatures", n)
				}
				if !strings.Contains(stderr, "signkit: the agent has ended during a call") || strings.Count(stderr, "\n") != 2 ||
					!strings.Contains(stderr, "signkit: cannot connect to the agent at "+path) {
					t.Errorf("stderr:\n%s", stderr)
				}
			})
		}
	}
}

// converse runs a host, does what its words want, and answers each with a line.
func converse(t *testing.T, args, env []string, words map[string]func()) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var complaints, all bytes.Buffer
	cmd.Env, cmd.Stderr, cmd.WaitDelay = env, &complaints, time.Minute
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&all, lines.Text())
		if do := words[lines.Text()]; do != nil {
			do()
			if _, err := io.WriteString(in, "go\n"); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	return all.String(), complaints.String()
}

// TestAgentIsNotThere: one line says what is wrong, and no token process is started in its place.
func TestAgentIsNotThere(t *testing.T) {
	t.Parallel()
	dir := socketFolder(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stale, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path("stale"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	hello := wire.Hello("dev")
	other := wire.Hello("9.9.9\x1b[31m")
	foreign := append([]byte("HTTP"), hello[4:]...)
	protocol := append([]byte{}, hello...)
	binary.NativeEndian.PutUint32(protocol[4:], 99)
	answers := func(packets ...[]byte) func(*net.UnixConn) {
		return func(conn *net.UnixConn) {
			for _, packet := range packets {
				_, _ = conn.Write(packet)
			}
		}
	}
	for name, serve := range map[string]func(*net.UnixConn){
		"hangs-up": answers(), "version": answers(other), "garbage": answers(foreign), "protocol": answers(protocol),
		"short": answers(hello[:10]), "silent": func(conn *net.UnixConn) { _, _ = io.Copy(io.Discard, conn) },
	} {
		listen(t, "unixpacket", path(name), serve)
	}
	listen(t, "unix", path("stream"), answers())
	full := listenOnly(t, path("full"))
	tests := []struct {
		name, agent string
		silence     bool
		line        string
	}{
		{"no socket", path("missing"), false, "cannot connect to the agent at " + path("missing") + " (SIGNKIT_AGENT): No such file or directory; it ends with"},
		{"nobody listens", path("stale"), false, "Connection refused; it ends with"},
		{"a file", path("file"), false, "Connection refused"},
		{"another kind of socket", path("stream"), false, "(SIGNKIT_AGENT): Protocol wrong type for socket"},
		{"a relative path", "agent", false, "SIGNKIT_AGENT must be the absolute path"},
		{"too long a path", "/" + strings.Repeat("x", 200), false, "of at most 107 bytes"},
		{"hangs up", path("hangs-up"), false, "refused this program"},
		{"another version", path("version"), false, "the agent is of version 9.9.9?[31m and this module of version "},
		{"another protocol", path("protocol"), false, "the agent is of version dev and"},
		{"not an agent", path("garbage"), false, "is no agent of signkit"},
		{"half a greeting", path("short"), false, "refused this program"},
		{"silence", path("silent"), true, "has been silent for 6 s"},
		{"too many wait", full, true, "(SIGNKIT_AGENT): it takes no connection"},
	}
	t.Run("group", func(t *testing.T) { // the sockets end after them
		for _, v := range shared.variant {
			for _, test := range tests {
				if test.silence && strings.HasPrefix(v.name, "shipped") {
					continue
				}
				t.Run(v.name+"/"+test.name, func(t *testing.T) {
					v.need(t)
					t.Parallel()
					v := v
					if test.silence {
						v = v.with(t, impatientSilence, "-O0")
					}
					got := shared.run(t, host{args: []string{v.program(t, "agent_absent"), v.module, "demo/p-256"}, env: throughAgent(test.agent)})
					if got.code != 3 || !strings.Contains(got.stderr, test.line) || strings.Count(got.stderr, "\n") != 1 {
						t.Errorf("ended with %d, stderr %q; want 3 and %q", got.code, got.stderr, test.line)
					}
				})
			}
		}
	})
}

// listen serves each connection until it is served; then it is closed.
func listen(t *testing.T, network, path string, serve func(*net.UnixConn)) {
	t.Helper()
	listener, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 1024)) // the greeting
				serve(conn)
			}()
		}
	}()
}

// listenOnly is a socket at which as many wait as can.
func listenOnly(t *testing.T, path string) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return path
}

// TestAgentThatBreaksThePeace: one that greets and then does not keep to the protocol is lost, and the host lives.
func TestAgentThatBreaksThePeace(t *testing.T) {
	t.Parallel()
	dir := socketFolder(t)
	hello := wire.Hello("dev")
	data := func(answer []byte) func(*net.UnixConn) {
		return func(conn *net.UnixConn) {
			_, _ = conn.Write(hello)
			packet, ancillary := make([]byte, 16), make([]byte, 64)
			_, n, _, _, err := conn.ReadMsgUnix(packet, ancillary)
			if err != nil {
				return
			}
			messages, _ := unix.ParseSocketControlMessage(ancillary[:n])
			for i := range messages {
				fds, _ := unix.ParseUnixRights(&messages[i])
				for _, fd := range fds {
					socket := os.NewFile(uintptr(fd), "data")
					_, _ = socket.Write(answer)
					defer socket.Close()
				}
			}
			_, _ = conn.Read(packet)
		}
	}
	header := func(kind, length uint32) []byte {
		b := append([]byte{}, hello...)
		b = binary.NativeEndian.AppendUint32(b, kind)
		b = binary.NativeEndian.AppendUint32(b, length)
		return append(b, make([]byte, 16)...)
	}
	peers := map[string]func(*net.UnixConn){
		"ends": func(conn *net.UnixConn) { _, _ = conn.Write(hello) }, "other version": data(wire.Hello("9")),
		"unknown kind": data(header(7, 0)), "far too long": data(header(wire.Answer, 1<<31)), "a sign of life with a load": data(header(wire.Working, 4)),
		"too short an answer": data(header(wire.Answer, 100)), "garbage": data([]byte(strings.Repeat("garbage", 100))), "nothing": data(nil),
	}
	for name, serve := range peers {
		listen(t, "unixpacket", filepath.Join(dir, strings.ReplaceAll(name, " ", "-")), serve)
	}
	t.Run("group", func(t *testing.T) { // the sockets end after them
		for name := range peers {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			for what, flags := range map[string][]string{"local": {impatientSilence, "-O0"}, "sanitizers": append([]string{impatientSilence}, sanitized...)} {
				t.Run(what+"/"+name, func(t *testing.T) {
					t.Parallel()
					v := shared.variant[0].with(t, flags...)
					got := shared.run(t, host{args: []string{v.program(t, "agent_absent"), v.module, "demo/p-256"}, env: throughAgent(path, "ASAN_OPTIONS=detect_leaks=0")})
					if got.code != 4 {
						t.Errorf("ended with %d, stderr %q", got.code, got.stderr)
					}
				})
			}
		}
	})
}

func TestNoDescriptorForTheAgent(t *testing.T) {
	t.Parallel()
	t.Run("group", func(t *testing.T) {
		for _, v := range shared.variant {
			t.Run(v.name, func(t *testing.T) {
				v.need(t)
				t.Parallel()
				path := filepath.Join(socketFolder(t), "agent")
				serveAgentOf(t, v, path, shared.service)
				got := shared.run(t, host{args: []string{v.program(t, "agent_absent"), v.module, "demo/p-256", "descriptors"}, env: throughAgent(path)})
				if got.code != 3 || strings.Count(got.stderr, "signkit: cannot make a socket for the agent: ") != 1 || shared.verify(t, got.stdout, "demo/p-256", "hello") != 1 {
					t.Errorf("ended with %d, stderr %q", got.code, got.stderr)
				}
			})
		}
	})
}

// TestUsersOfAnAgent: an agent serves its own user and those that were named, and a host takes an agent of its own user or of root.
func TestUsersOfAnAgent(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be several users")
	}
	const other, third = 54321, 54322
	dir := socketFolder(t)
	openTo(t, dir)
	openTo(t, shared.dir)
	open := filepath.Join(dir, "open")
	serveAgent(t, open, shared.service, func(o *agent.Options) { o.AllowUIDs = []int{other} })
	private := filepath.Join(dir, "private")
	serveAgent(t, private, shared.service, nil)
	visible := filepath.Join(dir, "visible")
	serveAgent(t, visible, shared.service, nil)
	if err := os.Chmod(visible, 0o666); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign")
	listenAs(t, other, foreign)
	v := shared.variant[0]
	for _, test := range []struct {
		name, agent string
		user        uint32
		code        int
		line        string
	}{
		{"named", open, other, 0, ""},
		{"not named", open, third, 3, "refused this program"},
		{"kept out by the mode", private, other, 3, "Permission denied"},
		{"mode changed by somebody", visible, other, 3, "refused this program"},
		{"agent of another user", foreign, 0, 3, "belongs to user 54321, and this program to user 0"},
		{"agent of a third user", foreign, third, 3, "belongs to user 54321, and this program to user 54322"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), bound)
			defer cancel()
			cmd := exec.CommandContext(ctx, v.program(t, "agent_absent"), v.module, "demo/p-256")
			var stderr bytes.Buffer
			cmd.Env, cmd.Stderr = shared.environment(t, throughAgent(test.agent)...), &stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: test.user, Gid: 65534}}
			_ = cmd.Run()
			if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(stderr.String(), test.line) {
				t.Errorf("ended with %d, stderr %q; want %d and %q", code, stderr.String(), test.code, test.line)
			}
		})
	}
}

// listenAs is a socket at which, as the kernel says, another user listens.
func listenAs(t *testing.T, uid int, path string) {
	t.Helper()
	made := make(chan int)
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, whose user is another one, ends with this goroutine
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		err = errors.Join(err, unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Chmod(path, 0o666))
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			err = errors.Join(err, errno)
		}
		failed <- errors.Join(err, unix.Listen(fd, 8))
		made <- fd
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	fd := <-made
	t.Cleanup(func() { unix.Close(fd) })
}

// TestAgentUnderCheckers of memory, undefined behaviour and data races.
func TestAgentUnderCheckers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(socketFolder(t), "agent")
	serveAgent(t, path, shared.service, nil)
	t.Run("group", func(t *testing.T) {
		t.Run("sanitizers", func(t *testing.T) {
			v := shared.variant[0].with(t, sanitized...)
			for program, signatures := range map[string]int{"sign": 2, "locking": 8, "fork_after": 7, "cancelled": 1, "descriptors": 2, "threads": 128} {
				t.Run(program, func(t *testing.T) {
					t.Parallel()
					run := host{args: []string{v.program(t, program), v.module, "demo/p-256"}, env: throughAgent(path, "ASAN_OPTIONS=detect_leaks=0")}
					shared.mustRun(t, run, "demo/p-256", "hello", signatures)
				})
			}
		})
		t.Run("helgrind", func(t *testing.T) {
			t.Parallel()
			run, v := valgrind(t, "--tool=helgrind"), shared.variant[0]
			run.args, run.env = []string{v.program(t, "threads"), v.module, "demo/p-256"}, throughAgent(path)
			shared.mustRun(t, run, "demo/p-256", "hello", 128)
		})
		t.Run("leaks", func(t *testing.T) {
			t.Parallel()
			run, v := valgrind(t, "--leak-check=full", "--errors-for-leak-kinds=definite"), shared.variant[0]
			run.args, run.env = []string{v.program(t, "fork_after"), v.module, "demo/p-256"}, throughAgent(path)
			shared.mustRun(t, run, "demo/p-256", "hello", 7)
		})
	})
}

// TestKeysThatWereNotNamed: a host finds the ones that were, and no others, whether it names them or not.
func TestKeysThatWereNotNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(socketFolder(t), "agent")
	serveAgent(t, path, shared.service, func(o *agent.Options) { o.Keys = []string{"demo/p-256"} })
	program, module := shared.program(t, "sign", "cc"), shared.variant[0].module
	shared.mustRun(t, host{args: []string{program, module, "demo/p-256"}, env: throughAgent(path)}, "demo/p-256", "hello", 2)
	got := shared.run(t, host{args: []string{program, module, "demo/rsa-2048"}, env: throughAgent(path)})
	if got.code == 0 || strings.Contains(got.stdout, "signature") || !strings.Contains(got.stderr, "no such key") {
		t.Errorf("ended with %d: %s%s", got.code, got.stdout, got.stderr)
	}
}

// TestBudgetHoldsForThreads of one host that sign at the same time: not one more reaches the service.
func TestBudgetHoldsForThreads(t *testing.T) {
	t.Parallel()
	const most = 10
	own := ownServiceFor(t)
	path := filepath.Join(socketFolder(t), "agent")
	serveAgent(t, path, own.server, func(o *agent.Options) { o.MaxSignatures = most })
	got := shared.run(t, host{args: []string{shared.program(t, "threads", "cc"), shared.variant[0].module, "demo/p-256"}, env: throughAgent(path)})
	asked := 0
	for _, r := range own.server.Requests() {
		if strings.HasSuffix(r.Path, "SignHash") {
			asked++
		}
	}
	if got.code == 0 || asked == 0 || asked > most || shared.verify(t, got.stdout, "demo/p-256", "hello") > most || !strings.Contains(got.stderr, "--max-signatures") {
		t.Errorf("ended with %d after %d signatures: %s", got.code, asked, got.stderr)
	}
}

// TestPINsWithCredentials: an agent takes none, says so where the host's own messages are, and does not repeat them.
func TestPINsWithCredentials(t *testing.T) {
	t.Parallel()
	path := filepath.Join(socketFolder(t), "agent")
	serveAgent(t, path, shared.service, nil)
	settings, err := config.Load(shared.service.Environment(), "/")
	if err != nil {
		t.Fatal(err)
	}
	got := shared.run(t, host{args: []string{shared.program(t, "agent_absent", "cc"), shared.variant[0].module, "demo/rsa-2048", "pin"},
		env: throughAgent(path, "PIN="+settings.OrganizationID+":"+shared.service.Token())})
	const want = "the agent signs with its own credentials and takes no others; pass the PIN CONFIG"
	if got.code != 3 || strings.Count(got.stderr, want) != 1 || strings.Contains(got.stderr, shared.service.Token()) {
		t.Errorf("ended with %d, stderr %q", got.code, got.stderr)
	}
}
