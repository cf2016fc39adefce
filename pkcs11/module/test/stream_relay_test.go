package moduletest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// relayed is a service of its own and the relay between module and token process.
type relayed struct {
	service *ownService
	env     []string
	audit   string
}

// buildRelay makes the program of folder relay, once.
var buildRelay = sync.OnceValues(func() (string, error) {
	path := filepath.Join(shared.dir, "relay")
	return path, command("env", "CGO_ENABLED=0", "go", "build", "-o", path, "signkit/pkcs11/module/test/relay")
})

func startRelayed(t *testing.T, mischief string) *relayed {
	t.Helper()
	relay, err := buildRelay()
	if err != nil {
		t.Fatal(err)
	}
	service := ownServiceFor(t)
	dir := filepath.Dir(service.options.StateDir)
	env := append(service.environment(), "SIGNKIT_TOKEND="+relay, "SIGNKIT_TEST_MISCHIEF="+mischief,
		"SIGNKIT_TEST_TOKEND="+filepath.Join(filepath.Dir(shared.variant[0].module), "signkit-tokend"),
		"SIGNKIT_TEST_REACHED="+filepath.Join(dir, "reached"), "SIGNKIT_TEST_PROCEED="+filepath.Join(dir, "proceed"))
	return &relayed{service, env, filepath.Join(dir, "state", "audit.jsonl")}
}

// signed lists the hashes that the service has signed: all that ever became of any text.
func (r *relayed) signed(t *testing.T) [][]byte {
	t.Helper()
	audit, err := os.ReadFile(r.audit)
	if err != nil {
		t.Fatal(err)
	}
	var hashes [][]byte
	for line := range bytes.Lines(audit) {
		var entry struct{ Hash []byte }
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, entry.Hash)
	}
	return hashes
}

// onlySigned fails unless the service has signed the hash of text n times, and nothing else.
func (r *relayed) onlySigned(t *testing.T, text string, n int) {
	t.Helper()
	want := slices.Repeat([][]byte{sha256Of(text)}, n)
	if got := r.signed(t); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("the service has signed %x, want %d times %x", got, n, sha256Of(text))
	}
}

// TestDelayedSocket: the token process reads one data socket late. No hash of
// a shortened text is ever signed, and other operations go on.
func TestDelayedSocket(t *testing.T) {
	t.Parallel()
	const times = 3 << 20 // 15 MiB, far more than sockets hold
	text := strings.Repeat("hello", times)
	program := shared.program(t, "stream_delayed", "cc")
	for _, test := range []struct {
		meanwhile string
		n         int // signatures
	}{
		{"nothing", 2}, {"final", 2}, {"close", 1}, {"logout", 1},
	} {
		t.Run(test.meanwhile, func(t *testing.T) {
			t.Parallel()
			r := startRelayed(t, "delay")
			args := []string{program, shared.variant[0].module, "demo/p-256", strconv.Itoa(times), test.meanwhile}
			run := host{args: args, env: r.env}
			shared.mustRun(t, run, "demo/p-256", text, test.n)
			r.onlySigned(t, text, test.n)
		})
	}
}

// TestEverySocketIsLate: each message waits for a moment of its own.
func TestEverySocketIsLate(t *testing.T) {
	t.Parallel()
	r := startRelayed(t, "late")
	program := shared.program(t, "stream", "cc")
	const times = 2000000
	text := strings.Repeat("hello", times)
	run := host{args: []string{program, shared.variant[0].module, "demo/p-256", strconv.Itoa(times)}, env: r.env}
	shared.mustRun(t, run, "demo/p-256", text, 2)
	r.onlySigned(t, text, 2)
}

// TestAnswerWithoutMemory: what is left on a socket for want of memory goes with that socket.
func TestAnswerWithoutMemory(t *testing.T) {
	t.Parallel()
	r := startRelayed(t, "answer")
	program := shared.program(t, "no_memory", "cc")
	run := host{args: []string{program, shared.variant[0].module, "demo/p-256", "answer"}, env: r.env}
	shared.mustRun(t, run, "demo/p-256", "hello", 1)
	r.onlySigned(t, "hello", 1)
}

// TestBrokenStream: what is lost, repeated or changed between module and token
// process is refused. The next call on the session says so, and ends the operation.
func TestBrokenStream(t *testing.T) {
	t.Parallel()
	program := shared.program(t, "stream_broken", "cc")
	for _, test := range []struct{ mischief, parts, next, record string }{
		// The token process answers as soon as a number is wrong …
		{"drop", "4", "update", "update 3 arrived instead of 2"},
		{"drop", "4", "final", "update 3 arrived instead of 2"},
		{"repeat", "3", "update", "update 2 arrived instead of 3"},
		{"repeat", "3", "final", "update 2 arrived instead of 3"},
		{"swap", "4", "update", "update 3 arrived instead of 2"},
		{"swap", "4", "final", "update 3 arrived instead of 2"},
		// … and at the end if the sum is.
		{"drop", "3", "total", "786432 bytes were sent to be signed and 524288 arrived"},
		{"shorten", "5", "total", "1310720 bytes were sent to be signed and 1310719 arrived"},
		{"lengthen", "5", "total", "1310720 bytes were sent to be signed and 1310721 arrived"},
		{"count", "5", "total", "1310719 bytes were sent to be signed and 1310720 arrived"},
		{"hang up", "20", "hang up", ""},
	} {
		t.Run(test.mischief+"/"+test.next, func(t *testing.T) {
			t.Parallel()
			r := startRelayed(t, test.mischief)
			args := []string{program, shared.variant[0].module, "demo/p-256", test.parts, test.next}
			run := host{args: args, env: r.env}
			got := shared.mustRun(t, run, "demo/p-256", "hello", 1)
			r.onlySigned(t, "hello", 1)
			if !strings.Contains(got.stderr, test.record) || strings.Count(got.stderr, "signkit: error") != min(1, len(test.record)) {
				t.Errorf("no record, or not one, of %q in\n%s", test.record, got.stderr)
			}
		})
	}
}
