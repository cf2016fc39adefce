package logging

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const secret = "AKgYsUq5v0x/Hy3l+Zt9oPq2Wc7dRf4uBn6mXe8sTi0="

func consoleLogger(t *testing.T, level Level) (*slog.Logger, *bytes.Buffer) {
	t.Helper()
	redactor := new(Redactor)
	redactor.Add(secret)
	var console bytes.Buffer
	logger, closer, err := New(Options{ConsoleLevel: level, Console: &console, Redactor: redactor})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closer.Close() })
	return logger, &console
}

func TestConsoleLines(t *testing.T) {
	tests := []struct {
		log  func(*slog.Logger)
		want string
	}{
		{func(l *slog.Logger) { l.Error("it failed", "status", 503, "text", "try later") }, `error: it failed status=503 text="try later"`},
		{func(l *slog.Logger) { l.Warn("a\nb\x1b[31m\xff", "k", "c\r\nd\x1b[0m") }, `warning: a\nb\x1b[31m\xff k="c\r\nd\x1b[0m"`},
		{func(l *slog.Logger) { l.Info("x", "empty", "", "eq", "a=b", "quote", `"`, "err", errors.New("e e")) },
			`info: x empty="" eq="a=b" quote="\"" err="e e"`},
		{func(l *slog.Logger) {
			l.With("a", 1).WithGroup("g").With("b", 2).Debug("x", slog.Group("h", "c", 3), "d", true)
		},
			`debug: x a=1 g.b=2 g.h.c=3 g.d=true`},
		{func(l *slog.Logger) { l.Info("token " + secret) }, `info: token [redacted]`},
		{func(l *slog.Logger) { l.With("t", secret).Info("x", "u", url.QueryEscape(secret)) }, `info: x t=[redacted] u=[redacted]`},
		{func(l *slog.Logger) { l.Info("x", "err", errors.New("got "+secret)) }, `info: x err="got [redacted]"`},
		{func(l *slog.Logger) { l.Info("x", secret, 1) }, `info: x "[redacted]"=1`},
		{func(l *slog.Logger) { l.Info("ünïcode", "k", "日本") }, `info: ünïcode k=日本`},
	}
	for _, test := range tests {
		logger, console := consoleLogger(t, Verbose)
		test.log(logger)
		if got := console.String(); got != "signkit: "+test.want+"\n" {
			t.Errorf("got  %swant signkit: %s", got, test.want)
		}
	}
}

func TestLevelsAreThresholds(t *testing.T) {
	all := []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug}
	for level, want := range []int{None: 0, Fatal: 0, Error: 1, Warning: 2, Info: 3, Debug: 4, Verbose: 4} {
		level := Level(level)
		logger, console := consoleLogger(t, level)
		for _, l := range all {
			logger.Log(context.Background(), l, "x")
			if logger.Enabled(context.Background(), l) != (l >= level.Slog()) {
				t.Errorf("%v: Enabled(%v) is wrong", level, l)
			}
		}
		if got := strings.Count(console.String(), "\n"); got != want {
			t.Errorf("%v: %d records, want %d", level, got, want)
		}
		parsed, err := ParseLevel(strings.ToUpper(level.String()))
		if err != nil || parsed != level {
			t.Errorf("ParseLevel(%v) = %v, %v", level, parsed, err)
		}
	}
	for _, word := range []string{"", "warn", "9"} {
		if _, err := ParseLevel(word); err == nil {
			t.Errorf("ParseLevel(%q) accepts it", word)
		}
	}
}

func TestFileLine(t *testing.T) {
	directory := t.TempDir()
	redactor := new(Redactor)
	logger, closer, err := New(Options{FileLevel: Warning, FileDirectory: directory, Interface: "Cryptoki", Redactor: redactor})
	if err != nil {
		t.Fatal(err)
	}
	redactor.Add(secret) // learned later, from a PIN
	logger.Warn("message", "k", "v w", "t", secret)
	logger.Info("below the level")
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	logger.Error("after Close")
	data, err := os.ReadFile(filepath.Join(directory, logFile))
	want := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning \d+ message k="v w" t=\[redacted\]\n$`)
	if err != nil || !want.Match(data) {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestNoFileWithoutDirectoryOrLevel(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, o := range []Options{{FileLevel: Verbose, Interface: "Cryptoki"}, {FileDirectory: "logs", Interface: "Cryptoki"}} {
		logger, closer, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		logger.Error("x")
		closer.Close()
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("files: %v, %v", entries, err)
	}
}

func TestAnUnusableDirectoryIsAnErrorAndTheConsoleWorks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var console bytes.Buffer
	logger, closer, err := New(Options{ConsoleLevel: Error, Console: &console, FileLevel: Info, FileDirectory: filepath.Join(file, "x"), Interface: "Cryptoki"})
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v", err)
	}
	logger.Error("x")
	if console.String() != "signkit: error: x\n" || closer.Close() != nil {
		t.Errorf("console %q", console.String())
	}
}

func TestLongRecordsAreShortened(t *testing.T) {
	logger, console := consoleLogger(t, Info)
	logger.Info(strings.Repeat("ä", longestRecord))
	if got := console.String(); len(got) > longestRecord+100 || !strings.HasSuffix(got, "bytes left out)\n") || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-40:])
	}
	console.Reset()
	logger.Info(strings.Repeat("x", longestRecord-10) + secret)
	if strings.Contains(console.String(), secret[:8]) {
		t.Error("the cut left a part of a secret")
	}
}

func TestRedactor(t *testing.T) {
	r := new(Redactor)
	if got := r.Redact(secret); got != secret {
		t.Errorf("an empty Redactor changes %q", got)
	}
	r.Add("")
	r.Add("abc")
	r.Add(secret)
	r.Add(secret)
	r.Add(secret + "longer")
	r.Add("pässwörd 1")
	r.Add("+/?=+/?=")
	lower := strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(secret, "/", "%2f"), "+", "%2b"), "=", "%3d")
	for name, form := range map[string]string{
		"raw":         secret,
		"query":       url.QueryEscape(secret),
		"path":        url.PathEscape(secret),
		"lower case":  lower,
		"JSON of Go":  strings.ReplaceAll(secret, "/", `\/`),
		"JSON of NET": strings.ReplaceAll(secret, "+", `\u002B`),
		"HTML, hex":   strings.ReplaceAll(secret, "+", "&#x2B;"),
		"HTML, dec":   strings.ReplaceAll(secret, "+", "&#43;"),
		"HTML, name":  strings.ReplaceAll(secret, "+", "&plus;"),
		"longer":      secret + "longer",
		"not ASCII":   "pässwörd 1",
		"its URL":     url.PathEscape("pässwörd 1"),
		"no letters":  "+/?=+/?=",
		"their URL":   url.QueryEscape("+/?=+/?="),
	} {
		if got := r.Redact("<" + form + "> abc <" + form + ">"); got != "<[redacted]> abc <[redacted]>" {
			t.Errorf("%s: got %s", name, got)
		}
	}
	var none *Redactor
	none.Add(secret)
	if got := none.Redact(secret); got != secret {
		t.Errorf("a nil Redactor changes %q", got)
	}
}

func TestRedactorIsSafeForConcurrentUse(t *testing.T) {
	r := new(Redactor)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 50 {
			r.Add(strings.Repeat(string(rune('a'+i%26)), 4+i))
		}
	}()
	for range 50 {
		r.Redact("aaaa bbbb")
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the redactor does not answer")
	}
	if got := r.Redact("aaaa"); got != Redacted {
		t.Errorf("got %q", got)
	}
}

// The log is printed by CI systems, which obey some lines: see Line.
func TestRecordsAreNoCommandsToACISystem(t *testing.T) {
	dir := t.TempDir()
	var console bytes.Buffer
	logger, closer, err := New(Options{ConsoleLevel: Info, Console: &console, FileLevel: Info, FileDirectory: dir, Interface: "Test"})
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	logger.Warn("a ##[error]b", "k", "##vso[task.complete result=Succeeded]", "word", "##[group]x", "##[key]", 1)
	logger.With("##[section]", "##[debug]x").Warn("::set-env name=X::1\n::y")
	file, err := os.ReadFile(filepath.Join(dir, "SignPath.CryptoProviders.Test.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(console.String()+string(file), "\n") {
		if strings.HasPrefix(line, "::") || regexp.MustCompile(`##\w*\[`).MatchString(line) {
			t.Errorf("a command: %q", line)
		}
	}
	if n := strings.Count(console.String(), "\n"); n != 2 {
		t.Errorf("%d lines", n)
	}
}
