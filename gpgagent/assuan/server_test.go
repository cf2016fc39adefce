package assuan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// pipe is io.Pipe, at whose ends nobody waits for ever.
func pipe(t *testing.T) (*io.PipeReader, *io.PipeWriter) {
	r, w := io.Pipe()
	late := time.AfterFunc(patience, func() {
		_ = r.CloseWithError(os.ErrDeadlineExceeded)
		_ = w.CloseWithError(os.ErrDeadlineExceeded)
	})
	t.Cleanup(func() { late.Stop() })
	return r, w
}

// memory is the state of a test connection.
type memory struct{ text string }

// testServer has a few commands that show what a command can do.
func testServer(extra ...Command[*memory]) *Server[*memory] {
	return &Server[*memory]{
		Greeting: "test ready", Session: func() *memory { return new(memory) }, Log: slog.New(slog.DiscardHandler),
		Commands: append([]Command[*memory]{
			{"KEEP", func(m *memory, _ context.Context, c *Call) error { m.text = c.Word(0); return nil }, "KEEP TEXT: keep it"},
			{"TELL", func(m *memory, _ context.Context, c *Call) error { c.Data([]byte(m.text)); return nil }, "TELL: what was kept"},
			{"SHOW", func(_ *memory, _ context.Context, c *Call) error {
				value, ok := c.Option("hash")
				c.Status("SHOW", fmt.Sprintf("%q", c.Words), fmt.Sprintf("%q %v", value, ok))
				return nil
			}, "SHOW [--hash=X] WORDS: what was understood"},
			{"FAIL", func(*memory, context.Context, *Call) error {
				return fmt.Errorf("outer: %w", Errorf(Forbidden, "a text with a secret"))
			}, "FAIL: with a code"},
			{"FAILCODE", func(*memory, context.Context, *Call) error { return NotFound }, "FAILCODE: with a bare code"},
			{"FAILPLAIN", func(*memory, context.Context, *Call) error { return io.ErrUnexpectedEOF }, "FAILPLAIN: without a code"},
			{"PANIC", func(*memory, context.Context, *Call) error { panic("defect") }, "PANIC: a defect"},
			{"BYE", func(*memory, context.Context, *Call) error { return ErrBye }, "BYE: leave"},
			{"STOP", func(*memory, context.Context, *Call) error { return ErrStop }, "STOP: end the server"},
		}, extra...),
	}
}

// talk sends lines at once, followed by end of file, and returns all answers
// after the greeting.
func talk(t *testing.T, s *Server[*memory], input string) (string, error) {
	t.Helper()
	var out strings.Builder
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := s.Serve(ctx, strings.NewReader(input), &out)
	answers, ok := strings.CutPrefix(out.String(), "OK test ready\n")
	if !ok {
		t.Fatalf("no greeting in %q", out.String())
	}
	return answers, err
}

func TestServeAnswers(t *testing.T) {
	for input, want := range map[string]string{
		"":                                 "",
		"TELL\n":                           "OK\n",
		"KEEP a\nTELL\n":                   "OK\nD a\nOK\n",
		"keep a\r\ntell\r\n":               "OK\nD a\nOK\n",
		"\n  \n# a comment\nTELL\n":        "OK\n",
		" \tKEEP \t a  \nTELL":             "OK\n", // the last line has no end
		"KEEP 50%25%0a\nTELL\n":            "OK\nD 50%25%0A\nOK\n",
		"KEEP %zz%2\nTELL\n":               "OK\nD %25zz%252\nOK\n",
		"KEEP a+b\nTELL\n":                 "OK\nD a+b\nOK\n",
		"FAIL\nTELL\n":                     "ERR 100663547 Forbidden <SCD>\nOK\n",
		"FAILCODE\n":                       "ERR 100663323 Not found <SCD>\n",
		"FAILPLAIN\n":                      "ERR 100663297 General error <SCD>\n",
		"PANIC\nTELL\n":                    "ERR 100663297 General error <SCD>\nOK\n",
		"UNKNOWN x\nTELL\n":                "ERR 100663571 Unknown IPC command <SCD>\nOK\n",
		"TELLX\n":                          "ERR 100663571 Unknown IPC command <SCD>\n",
		"SHOW a  b\n":                      "S SHOW [\"a\" \"b\"] \"\" false\nOK\n",
		"SHOW  -- --hash=x\n":              "S SHOW [\"--hash=x\"] \"\" false\nOK\n",
		"SHOW --other  --hash=sha1 -- a\n": "S SHOW [\"a\"] \"sha1\" true\nOK\n",
		"SHOW a --hash\n":                  "S SHOW [\"a\"] \"\" true\nOK\n",
		"SHOW --hashes=1\n":                "S SHOW [] \"\" false\nOK\n",
		"BYE\nTELL\n":                      "OK closing connection\n",
	} {
		if got, err := talk(t, testServer(), input); got != want || err != nil {
			t.Errorf("%q: answers %q, %v; want %q", input, got, err, want)
		}
	}
}

func TestServeReportsStop(t *testing.T) {
	if got, err := talk(t, testServer(), "STOP\nTELL\n"); got != "OK\n" || err != ErrStop {
		t.Errorf("answers %q, %v; want OK and ErrStop", got, err)
	}
}

func TestServeKeepsStatePerConnection(t *testing.T) {
	s := testServer()
	for _, want := range []string{"OK\n", "OK\n"} {
		if got, err := talk(t, s, "TELL\n"); got != want || err != nil {
			t.Errorf("answers %q, %v; want %q", got, err, want)
		}
		if got, err := talk(t, s, "KEEP a\n"); got != "OK\n" || err != nil {
			t.Errorf("answers %q, %v", got, err)
		}
	}
}

func TestServeRefusesLongLinesAsAWhole(t *testing.T) {
	fits := "KEEP " + strings.Repeat("x", maxLine-5)
	for length, line := range map[int]string{
		maxLine: fits, maxLine + 1: fits + "x", maxLine + 2: fits + "xx",
		3000: fits + strings.Repeat("x TELL ", 300), 5000: strings.Repeat("\x00", 5000),
	} {
		want := "OK\n"
		if length > maxLine {
			want = "ERR 100663559 IPC line too long <SCD>\n"
		}
		got, err := talk(t, testServer(), line+"\nFAILCODE\n")
		if want += "ERR 100663323 Not found <SCD>\n"; got != want || err != nil {
			t.Errorf("%d octets: answers %q, %v; want %q", len(line), got, err, want)
		}
	}
}

func TestDataIsDividedBetweenEscapes(t *testing.T) {
	for _, data := range []string{
		strings.Repeat("%", 2000), strings.Repeat("a", 997) + "%%", strings.Repeat("a", 998), strings.Repeat("a", 999), "\r\n%\x00\xff",
		strings.Repeat("a", 996) + "\n", strings.Repeat("a", 995) + "\n",
	} {
		big := Command[*memory]{"BIG", func(_ *memory, _ context.Context, c *Call) error {
			c.Data([]byte(data))
			return nil
		}, "BIG: data"}
		answers, err := talk(t, testServer(big), "BIG\n")
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(answers, "\n"), "\n")
		var got string
		for _, line := range lines[:len(lines)-1] {
			rest, ok := strings.CutPrefix(line, "D ")
			if !ok || len(line) > maxLine || strings.ContainsAny(line, "\r") {
				t.Fatalf("line of %d octets: %q", len(line), line)
			}
			// Each line by itself is whole.
			got += unescape(rest)
		}
		if got != data || lines[len(lines)-1] != "OK" {
			t.Errorf("%d octets came back as %d, then %q", len(data), len(got), lines[len(lines)-1])
		}
	}
}

func TestStatusAndCommentStayOnOneLine(t *testing.T) {
	long := strings.Repeat("a", 989) + strings.Repeat("%", 20)
	s := testServer(Command[*memory]{"X", func(_ *memory, _ context.Context, c *Call) error {
		c.Status("KEY", "a\nOK", "b\r")
		c.Comment("c\nOK")
		c.Status("LONG", long)
		return nil
	}, "X"})
	got, err := talk(t, s, "X\n")
	want := "S KEY a%0AOK b%0D\n# c%0AOK\nS LONG " + strings.Repeat("a", 989) + "%25\nOK\n"
	if got != want || err != nil {
		t.Errorf("answers %q, %v; want %q", got, err, want)
	}
}

// waitCommand runs until its context ends and then says so on the channel.
func waitCommand(started chan<- struct{}, ended chan<- error) Command[*memory] {
	return Command[*memory]{"WAIT", func(_ *memory, ctx context.Context, _ *Call) error {
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return Canceled
	}, "WAIT: for the client to leave"}
}

func TestEndOfFileCancelsTheRunningCommand(t *testing.T) {
	started, ended := make(chan struct{}), make(chan error, 1)
	in, client := pipe(t)
	var out strings.Builder
	served := make(chan error, 1)
	go func() { served <- testServer(waitCommand(started, ended)).Serve(t.Context(), in, &out) }()
	if _, err := io.WriteString(client, "WAIT\nFAILCODE\n"); err != nil {
		t.Fatal(err)
	}
	await(t, started)
	_ = client.Close()
	if err := await(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the command's context ended with %v", err)
	}
	if err := await(t, served); err != nil {
		t.Errorf("Serve = %v", err)
	}
	// What was sent before the client left is answered, in order.
	want := "OK test ready\nERR 100663395 Operation cancelled <SCD>\nERR 100663323 Not found <SCD>\n"
	if out.String() != want {
		t.Errorf("answers %q, want %q", out.String(), want)
	}
}

func TestEndOfContextEndsServe(t *testing.T) {
	in, client := pipe(t)
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	answers, out := pipe(t)
	served := make(chan error, 1)
	go func() { served <- testServer().Serve(ctx, in, out) }()
	greeting := make([]byte, len("OK test ready\n"))
	if _, err := io.ReadFull(answers, greeting); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := await(t, served); !errors.Is(err, context.Canceled) {
		t.Errorf("Serve = %v", err)
	}
}

func TestServeEndsWhenNobodyReads(t *testing.T) {
	in, client := pipe(t)
	defer client.Close()
	answers, out := pipe(t)
	_ = answers.Close()
	if err := testServer().Serve(t.Context(), in, out); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Serve = %v, want io.ErrClosedPipe", err)
	}
}

// startSocket serves s on a socket in a short folder until the test ends.
func startSocket(t *testing.T, s *Server[*memory]) (socket *Socket, served <-chan error) {
	t.Helper()
	socket, err := Listen(shortDir(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		result <- s.ServeSocket(ctx, socket)
	}()
	t.Cleanup(func() { cancel(); await(t, done) })
	return socket, result
}

// shortDir is a folder whose name leaves room for a socket address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "assuan-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// dial connects and sends text; the client's side stays open.
func dial(t *testing.T, socket *Socket, text string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("unix", socket.Path(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if text == "" {
		return conn // a write of nothing fails, too, where the server has left
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
