package card

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signkit/gpgagent/assuan"
	"signkit/gpgagent/keyfile"
	"signkit/internal/key"
	"signkit/internal/keygrip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSocket   = "/run/test/S.scd"
	testGreeting = "test ready"
)

var testKeyNames = []string{"rsa2048", "rsa3072", "p256", "p384", "p521"}

// testKeys are made once for all tests.
var testKeys = sync.OnceValue(func() map[string]crypto.Signer {
	keys := map[string]crypto.Signer{}
	for name, bits := range map[string]int{"rsa2048": 2048, "rsa3072": 3072} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		keys[name] = key
	}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		keys[name] = key
	}
	return keys
})

// testEntry is the entry of a test key: the policy "demo/NAME".
func testEntry(t *testing.T, name string) keyfile.Entry {
	t.Helper()
	public := testKeys()[name].Public()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	grip, err := keygrip.Of(public)
	if err != nil {
		t.Fatal(err)
	}
	return keyfile.Entry{Keygrip: grip, Public: der, Fingerprint: strings.Repeat("AB", 20), UserID: name,
		SignPath: &keyfile.SignPath{Project: "demo", Policy: name}}
}

// verifyCard verifies a signature in the form that a card gives.
func verifyCard(t *testing.T, e keyfile.Entry, hash crypto.Hash, digest, signature []byte) bool {
	t.Helper()
	public, err := e.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		half := len(signature) / 2
		r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
		return ecdsa.Verify(public, digest, r, s)
	}
	return false
}

// bench is a card with test keys, whose signers can be told to misbehave.
type bench struct {
	t      *testing.T
	server *assuan.Server[*Session]
	log    *logBuffer
	path   string // of the key list

	mu                   sync.Mutex
	next                 error // of the next signature
	replace              func(context.Context, crypto.Signer, []byte, crypto.SignerOpts) ([]byte, error)
	openErr              error
	openings, signatures int
}

// newBench makes a card; without names there is no key list.
func newBench(t *testing.T, names ...string) *bench {
	t.Helper()
	b := &bench{t: t, log: new(logBuffer), path: filepath.Join(t.TempDir(), keyfile.Name)}
	b.write(names)
	logger := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	card := New(Options{KeyList: b.path, Open: b.open, Socket: testSocket, Log: logger})
	b.server = &assuan.Server[*Session]{Greeting: testGreeting, Commands: card.Commands(), Session: card.Session, Log: logger}
	return b
}

// write makes the key list at once; adding is slower, since it waits for the disk.
func (b *bench) write(names []string) {
	b.t.Helper()
	if len(names) == 0 {
		return
	}
	var f keyfile.File
	for _, name := range names {
		f.Keys = append(f.Keys, testEntry(b.t, name))
	}
	text, err := json.Marshal(f)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.path, text, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) add(name string) {
	b.t.Helper()
	if err := keyfile.Add(b.path, testEntry(b.t, name)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) failNext(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = err
}

func (b *bench) open(_ context.Context, e keyfile.Entry) (key.Signer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.openings++
	if b.openErr != nil {
		return nil, b.openErr
	}
	key := testKeys()[e.SignPath.Policy]
	if key == nil {
		return nil, errors.New("no such test key")
	}
	return benchSigner{key, b}, nil
}

type benchSigner struct {
	crypto.Signer
	bench *bench
}

func (s benchSigner) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.bench.mu.Lock()
	err, replace := s.bench.next, s.bench.replace
	s.bench.next = nil
	s.bench.signatures++
	s.bench.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case replace != nil:
		return replace(ctx, s.Signer, digest, opts)
	}
	return s.Signer.Sign(rand.Reader, digest, opts)
}

// patience is for what does not hang: far more than it takes.
const patience = 2 * time.Minute

// await takes what is to come soon.
func await[T any](t *testing.T, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(patience):
		t.Fatalf("nothing has come for %s", patience)
	}
	return value
}

// connection is a client's side of one connection.
type connection struct {
	out  io.WriteCloser
	in   *bufio.Reader
	done chan error

	data, signing string // what SETDATA and PKSIGN said last
}

// connect begins a connection; the greeting is not read.
func (b *bench) connect() *connection {
	in, out := io.Pipe()
	answers, answer := io.Pipe()
	late := time.AfterFunc(patience, func() {
		_ = in.CloseWithError(os.ErrDeadlineExceeded)
		_ = answer.CloseWithError(os.ErrDeadlineExceeded)
	})
	c := &connection{out: out, in: bufio.NewReader(answers), done: make(chan error, 1)}
	go func() {
		err := b.server.Serve(b.t.Context(), in, answer)
		_ = answer.Close()
		_ = in.Close()
		late.Stop()
		c.done <- err
	}()
	return c
}

// dial begins a connection and reads the greeting.
func (b *bench) dial() *connection {
	b.t.Helper()
	c := b.connect()
	if got := c.read(b.t); got != "OK "+testGreeting {
		b.t.Fatalf("greeting %q", got)
	}
	b.t.Cleanup(func() { c.close(b.t) })
	return c
}

func (c *connection) send(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(c.out, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

func (c *connection) read(t *testing.T) string {
	t.Helper()
	line, err := c.in.ReadString('\n')
	if err != nil {
		t.Fatalf("after %q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// readData joins D lines, up to another line, which it leaves.
func (c *connection) readData(t *testing.T) []byte {
	t.Helper()
	var data []byte
	for {
		if begin, err := c.in.Peek(2); err != nil || string(begin) != "D " {
			return data
		}
		data = append(data, unescape(c.read(t)[2:])...)
	}
}

var unescape = strings.NewReplacer("%25", "%", "%0A", "\n", "%0D", "\r").Replace

// ask sends a line and returns everything up to OK or ERR.
func (c *connection) ask(t *testing.T, line string) string {
	t.Helper()
	c.send(t, line)
	var answer []string
	for {
		answer = append(answer, c.read(t))
		if last := answer[len(answer)-1]; last == "OK" || strings.HasPrefix(last, "ERR ") || strings.HasPrefix(last, "OK ") {
			return strings.Join(answer, "\n")
		}
	}
}

// sign does SETDATA and PKSIGN and returns the D lines' data, and OK or ERR with its number.
func (c *connection) sign(t *testing.T, options, id string, data []byte) (signature []byte, result string) {
	t.Helper()
	if got := c.ask(t, "SETDATA "+hexText(data)); got != "OK" {
		t.Fatalf("SETDATA: %q", got)
	}
	c.send(t, "PKSIGN "+options+" "+id)
	signature = c.readData(t)
	return signature, c.result(t)
}

// result reads an OK, or an ERR without the text that no program reads.
func (c *connection) result(t *testing.T) string {
	t.Helper()
	words := strings.Fields(c.read(t))
	return strings.Join(words[:min(2, len(words))], " ")
}

func hexText(data []byte) string { return strings.ToUpper(hex.EncodeToString(data)) }

// close ends the connection like a client that leaves.
func (c *connection) close(t *testing.T) {
	t.Helper()
	if c.done == nil {
		return
	}
	_ = c.out.Close()
	_, _ = io.Copy(io.Discard, c.in)
	if err := await(t, c.done); err != nil && !errors.Is(err, assuan.ErrStop) && !errors.Is(err, context.Canceled) {
		t.Errorf("Serve = %v", err)
	}
	c.done = nil
}

// logBuffer is a log that tests can read.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
