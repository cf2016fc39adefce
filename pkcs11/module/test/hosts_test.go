package moduletest

import (
	"crypto/ecdsa"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func verifyP1363(k *ecdsa.PublicKey, digest, signature []byte) bool {
	half := len(signature) / 2
	r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
	return ecdsa.Verify(k, digest, r, s)
}

// hosts is one row for each host program: how it is called and how many
// signatures it must make over "hello".
var hosts = []struct {
	name       string
	program    string
	args       []string
	signatures int
	silence    bool // waits as long as a token process may be silent
	unloads    bool // needs a C library that unloads
}{
	{name: "signs twice", program: "sign", signatures: 2},
	{name: "return values", program: "rules", signatures: 3},
	{name: "locking and a second start", program: "locking", signatures: 8},
	{name: "is left as it was", program: "untouched", signatures: 3},
	{name: "fork before C_Initialize", program: "fork_before", signatures: 2},
	{name: "fork before C_Initialize, child goes on in a thread", program: "fork_thread", args: []string{"loaded"}, signatures: 3},
	{name: "fork during C_Initialize, child goes on in a thread", program: "fork_thread", args: []string{"starting"}, signatures: 3},
	{name: "fork after C_Initialize, child goes on in a thread", program: "fork_thread", args: []string{"started"}, signatures: 3},
	{name: "fork after C_Initialize", program: "fork_after", signatures: 7},
	{name: "fork while threads are in calls", program: "fork_in_call", signatures: 11},
	{name: "fork in a signal handler", program: "fork_in_handler", signatures: 3},
	{name: "fork handlers of its own", program: "own_handlers", signatures: 2},
	{name: "fork without handlers", program: "raw_clone", args: []string{"fork", "new"}, signatures: 3},
	{name: "clone while threads are in calls", program: "raw_clone", args: []string{"clone", "new"}, signatures: 3},
	{name: "clone while threads are in calls, old kernel", program: "raw_clone", args: []string{"clone", "old"}, signatures: 3},
	{name: "clone with the same process id", program: "raw_clone", args: []string{"namespace", "new"}, signatures: 5},
	{name: "clone with the same process id, old kernel", program: "raw_clone", args: []string{"namespace", "old"}, signatures: 5},
	{name: "threads start a clone at once", program: "raw_clone", args: []string{"threads", "new"}, signatures: 2},
	{name: "threads start a clone at once, old kernel", program: "raw_clone", args: []string{"threads", "old"}, signatures: 2},
	{name: "vfork", program: "raw_clone", args: []string{"lent", "new"}, signatures: 1},
	{name: "vfork, old kernel", program: "raw_clone", args: []string{"lent", "old"}, signatures: 1},
	{name: "cancels its threads", program: "cancelled", signatures: 1},
	{name: "waits for all children", program: "wait_all", signatures: 2},
	{name: "counts SIGCHLD and waits", program: "sigchld", args: []string{"wait"}, signatures: 2},
	{name: "counts SIGCHLD and waits for clones", program: "sigchld", args: []string{"all"}, signatures: 2},
	{name: "ignores SIGCHLD", program: "sigchld", args: []string{"ignored"}, signatures: 2},
	{name: "lets the kernel reap", program: "sigchld", args: []string{"reaped"}, signatures: 2},
	{name: "is a subreaper", program: "init_process", args: []string{"subreaper"}, signatures: 1},
	{name: "is PID 1", program: "init_process", args: []string{"pid1"}, signatures: 1},
	{name: "runs on an old kernel", program: "old_kernel", signatures: 2},
	{name: "is about to make a namespace", program: "namespace", signatures: 4},
	{name: "token process killed", program: "lost", args: []string{"kill"}, signatures: 1},
	{name: "token process stopped", program: "lost", args: []string{"stop"}, signatures: 1, silence: true},
	{name: "stopped for longer than silence may last", program: "stopped", args: []string{"6"}, signatures: 1, silence: true},
	{name: "closes all descriptors", program: "descriptors", signatures: 2},
	{name: "replaces descriptors during a call", program: "replaced", signatures: 1},
	{name: "makes all sockets non-blocking", program: "nonblocking", signatures: 1},
	{name: "more threads than the token process takes sockets from", program: "crowded", signatures: 2},
	{name: "64 threads and C_Finalize", program: "threads", signatures: 128},
	{name: "loads and unloads 200 times", program: "reload", signatures: 1, unloads: true},
	{name: "loads and unloads 200 times, old kernel", program: "reload", args: []string{"old"}, signatures: 1, unloads: true},
	{name: "no memory", program: "no_memory", args: []string{"each"}, signatures: 2},
	{name: "signals every millisecond", program: "signals", signatures: 10},
	{name: "small stacks", program: "small_stack", signatures: 10},
	{name: "exports the same names", program: "interposed", signatures: 1},
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for _, v := range shared.variant {
		for _, h := range hosts {
			if h.silence && strings.HasPrefix(v.name, "shipped") {
				continue // waitOutSilence waits as long as the shipped one does
			}
			t.Run(v.name+"/"+h.name, func(t *testing.T) {
				v.need(t)
				if h.unloads && v.neverUnloads() {
					return // what stays loaded keeps its state
				}
				t.Parallel()
				v := v // the other rows keep theirs
				if h.silence {
					v = v.with(t, impatientSilence, "-O0")
				}
				key := "demo/p-256"
				if strings.HasPrefix(h.name, "signs ") || strings.HasPrefix(h.name, "return") {
					key = "demo/rsa-2048"
				}
				run := host{args: append([]string{v.program(t, h.program), v.module, key}, h.args...), env: []string{"RIGHT_TOKEN=" + shared.service.Token()}}
				shared.mustRun(t, run, key, "hello", h.signatures)
			})
		}
	}
}

func TestSilenceOfTheTokenProcess(t *testing.T) {
	checkLoss(t, waitOutSilence(t, "lost", "stop"), "has been silent for 20 s")
}

func TestSilenceOfTheHost(t *testing.T) {
	waitOutSilence(t, "stopped", "20")
}

// waitOutSilence waits as long as the module does that is shipped. It is for tests that are no subtests: those begin when all others
// have begun.
func waitOutSilence(t *testing.T, program, argument string) outcome {
	t.Helper()
	if testing.Short() {
		t.Skip("waits 20 s for a stopped process; not with -short")
	}
	t.Parallel()
	v := shared.variant[1]
	if v.why != "" {
		v = shared.variant[0] // the same default
	}
	return shared.mustRun(t, host{args: []string{v.program(t, program), v.module, "demo/p-256", argument}}, "demo/p-256", "hello", 1)
}

// TestStreams signs texts of many sizes in many pieces, and at once.
func TestStreams(t *testing.T) {
	t.Parallel()
	v := shared.variant[0]
	for _, key := range []string{"demo/rsa-2048", "demo/p-256"} {
		for _, times := range []string{"0", "1", "52428", "52429", "4000000"} {
			t.Run(key+"/"+times, func(t *testing.T) {
				t.Parallel()
				program := shared.program(t, "stream", "cc")
				n := map[string]int{"0": 0, "1": 1, "52428": 52428, "52429": 52429, "4000000": 4000000}[times]
				shared.mustRun(t, host{args: []string{program, v.module, key, times}}, key, strings.Repeat("hello", n), 2)
			})
		}
	}
}

// TestClosedStandardDescriptors runs a host without some or all of 0, 1 and 2:
// nothing of ours may land there.
func TestClosedStandardDescriptors(t *testing.T) {
	t.Parallel()
	v := shared.variant[0]
	program := shared.program(t, "sign", "cc")
	out := filepath.Join(t.TempDir(), "out")
	for _, closed := range []string{"0<&-", "0<&- 2>&-", "2>&-", "0<&- 1>&- 2>&-"} {
		t.Run(closed, func(t *testing.T) {
			script := `exec "$@" >"$OUT" ` + closed
			got := shared.run(t, host{prefix: []string{"bash", "-c", script, "bash"}, args: []string{program, v.module, "demo/p-256"}, env: []string{"OUT=" + out}})
			if strings.Contains(closed, "1>&-") {
				return // it cannot print; the next cases show what it signs
			}
			printed, err := os.ReadFile(out)
			if err != nil || got.code != 0 {
				t.Fatalf("ended with %d, %v: %s", got.code, err, got.stderr)
			}
			if n := shared.verify(t, string(printed), "demo/p-256", "hello"); n != 2 || strings.Count(string(printed), "\n") != 2 {
				t.Errorf("standard output holds\n%s", printed)
			}
		})
	}
}

// TestCannotStart is about the one line that the module itself prints.
func TestCannotStart(t *testing.T) {
	t.Parallel()
	v := shared.variant[0]
	program := shared.program(t, "cold", "cc")
	dir := t.TempDir()
	alone := filepath.Join(dir, "libsignkit-pkcs11.so")
	data, err := os.ReadFile(v.module)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(alone, data, 0o755); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other-version")
	if err := command("env", "CGO_ENABLED=0", "go", "build", "-ldflags", "-X signkit/internal/version.Version=9.9.9", "-o", other, "signkit/cmd/signkit-tokend"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, module, tokend string
		code                 int
		line                 string
	}{
		{"missing beside the module", alone, "", 3, "cannot start the token process /usr/lib/signkit/signkit-tokend: No such file or directory"},
		{"named and missing", v.module, "/nonexistent/tokend", 3, "cannot start the token process /nonexistent/tokend: No such file or directory"},
		{"not executable", v.module, plain, 3, plain + ": Permission denied"},
		{"another version", v.module, other, 4, `the module is version "dev", this token process "9.9.9"`},
		{"another program", v.module, "/bin/true", 4, ""}, // or 3, if it ends before it is greeted
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := os.Stat("/usr/lib/signkit/signkit-tokend"); err == nil && test.module == alone {
				t.Skip("signkit is installed on this machine")
			}
			env := []string{}
			if test.tokend != "" {
				env = append(env, "SIGNKIT_TOKEND="+test.tokend)
			}
			got := shared.run(t, host{args: []string{program, test.module, "demo/p-256"}, env: env})
			early := test.tokend == "/bin/true" && got.code == 3 && strings.Contains(got.stderr, "cannot greet")
			if !early && got.code != test.code || !strings.Contains(got.stderr, test.line) {
				t.Errorf("ended with %d, stderr %q; want %d and %q", got.code, got.stderr, test.code, test.line)
			}
			if strings.Count(got.stderr, "\n") > 1 {
				t.Errorf("more than one line: %q", got.stderr)
			}
		})
	}
}

// TestBadSettings: what is wrong with the settings is one line with the fix,
// and the call that needed them fails.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	v := shared.variant[0]
	program := shared.program(t, "sign", "cc")
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name string
		env  []string
		key  string
		says []string
	}{
		{"no token", []string{"SIGNPATH_API_TOKEN="}, "", []string{"C_Login", "SIGNPATH_API_TOKEN"}},
		{"malformed file", []string{"SIGNPATH_CONFIG_FILE=" + write("broken.json", "{\"ApiUrl\": ")}, "", []string{"C_Login", "broken.json"}},
		{"missing file", []string{"SIGNPATH_CONFIG_FILE=/nonexistent.json"}, "", []string{"C_Login", "/nonexistent.json"}},
		{"plain http", []string{"SIGNPATH_API_URL=http://signing.example/Api"}, "", []string{"C_Login", "SIGNPATH_API_URL"}},
		{"registry token", []string{"SIGNPATH_API_TOKEN=registry:HKEY_CURRENT_USER"}, "", []string{"C_Login", "Windows"}},
		{"unknown token", []string{"SIGNPATH_API_TOKEN=bm9ib2R5"}, "", []string{"401", "SIGNPATH_API_TOKEN"}},
		{"not a submitter", []string{"SIGNPATH_API_TOKEN=" + shared.service.SecondToken()}, "", []string{"no such key", "demo/p-256"}},
		{"unknown key", nil, "demo/nope", []string{"no such key", "demo/nope"}},
		{"no policy's name", nil, "release", []string{"no such key", "PROJECT/POLICY"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			key := "demo/p-256"
			if test.key != "" {
				key = test.key
			}
			got := shared.run(t, host{args: []string{program, v.module, key}, env: test.env})
			if got.code == 0 || strings.Contains(got.stdout, "signature") {
				t.Errorf("ended with %d: %s", got.code, got.stdout)
			}
			for _, text := range test.says {
				if !strings.Contains(got.stderr, text) {
					t.Errorf("stderr does not say %q:\n%s", text, got.stderr)
				}
			}
			if strings.Count(got.stderr, "signkit: error") != 1 {
				t.Errorf("not one record:\n%s", got.stderr)
			}
			if token := shared.service.Token(); strings.Contains(got.stderr+got.stdout, token) {
				t.Error("the token is shown")
			}
		})
	}
}

// TestRequests counts what a cold process asks: 2 requests on 1 connection for
// a named key, and 1 for the second signature.
func TestRequests(t *testing.T) {
	t.Parallel()
	v := shared.variant[0]
	sign, cold := shared.program(t, "sign", "cc"), shared.program(t, "cold", "cc")
	own := ownServiceFor(t)
	shared.mustRun(t, host{args: []string{sign, v.module, "demo/p-256"}, env: own.environment()}, "demo/p-256", "hello", 2)
	requests := own.server.Requests()
	connections := map[int64]bool{}
	for _, r := range requests {
		connections[int64(r.Connection)] = true
	}
	if len(requests) != 3 || len(connections) != 1 {
		t.Errorf("%d requests on %d connections: %+v", len(requests), len(connections), requests)
	}
	own.server.ClearRequests()
	if got := shared.run(t, host{args: []string{cold, v.module, "demo/p-256"}, env: own.environment()}); got.code != 0 {
		t.Errorf("ended with %d: %s", got.code, got.stderr)
	}
	if requests := own.server.Requests(); len(requests) != 0 {
		t.Errorf("a listing made requests: %+v", requests)
	}
}
