package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"signkit/internal/key"
	"signkit/internal/signpath"
)

func testUI() (*ui, *bytes.Buffer, *bytes.Buffer) {
	var stdout, stderr bytes.Buffer
	return newUI(&stdout, &stderr, nil), &stdout, &stderr
}

func TestTablesAreAlignedByCharactersWithoutTrailingBlanks(t *testing.T) {
	u, stdout, _ := testUI()
	u.table([]string{"NAME", "KEY", "NOTE"}, [][]string{{"dëmo/a", "RSA 3072", ""}, {"x", "P-256", "soon"}})
	want := "NAME    KEY       NOTE\ndëmo/a  RSA 3072\nx       P-256     soon\n"
	if stdout.String() != want {
		t.Errorf("got\n%s", stdout)
	}
}

func TestFailureShowsEachHintOnceAndNoSecret(t *testing.T) {
	u, _, stderr := testUI()
	u.redactor.Add("s3cret-token")
	inner := &signpath.Error{Method: "GET", Path: "/x", Status: 401, Texts: []string{"bad s3cret-token"}}
	inner.Hint = "check SIGNPATH_API_TOKEN"
	u.fail(withHint(fmt.Errorf("listing: %w", withHint(inner, "second")), "third"))
	want := "error: listing: GET /x: the service answered 401 Unauthorized: bad [redacted]\n" +
		"hint: check SIGNPATH_API_TOKEN\nhint: second\nhint: third\n"
	if stderr.String() != want {
		t.Errorf("got\n%s", stderr)
	}
}

func TestEveryLineOfAnErrorSaysThatItIsOne(t *testing.T) {
	u, _, stderr := testUI()
	u.fail(errors.Join(errors.New("one"), errors.New("two")))
	if stderr.String() != "error: one\nerror: two\n" {
		t.Errorf("got\n%s", stderr)
	}
}

func TestProgressIsPlainLinesWithoutATerminal(t *testing.T) {
	u, _, stderr := testUI()
	p := u.newProgress(2, "files")
	p.step("%s: signed", "a.rpm")
	p.step("%s: failed", "b.rpm")
	p.finish()
	if stderr.String() != "[1/2] a.rpm: signed\n[2/2] b.rpm: failed\n" {
		t.Errorf("got\n%s", stderr)
	}
}

func TestProgressIsOneLineOnATerminalAndGivesWayToMessages(t *testing.T) {
	u, _, stderr := testUI()
	u.terminal = true
	p := u.newProgress(2, "files")
	p.step("a.rpm: signed")
	u.warning("slow")
	p.step("b.rpm: signed")
	p.finish()
	want := "\r\x1b[K1 of 2 files  a.rpm: signed\nwarning: slow\n\r\x1b[K2 of 2 files  b.rpm: signed\n"
	if stderr.String() != want {
		t.Errorf("got %q", stderr)
	}
}

func TestColoursOnlyWhereTheyAreTaken(t *testing.T) {
	u, _, _ := testUI()
	if u.paint(red, "x") != "x" {
		t.Error("colours without a terminal")
	}
	u.colour = true
	if u.paint(red, "x") != "\x1b[31mx\x1b[0m" {
		t.Errorf("got %q", u.paint(red, "x"))
	}
}

func TestExpiryIsAWarningThirtyDaysBefore(t *testing.T) {
	for _, c := range []struct {
		left time.Duration
		want string
	}{
		{-time.Hour, "warning: the certificate of demo/x expired on "},
		{10*24*time.Hour + time.Hour, "in 10 days\n"},
		{31 * 24 * time.Hour, ""},
	} {
		u, _, stderr := testUI()
		(&app{ui: u}).warnExpiry("the certificate of demo/x", time.Now().Add(c.left))
		if got := stderr.String(); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s left: %q", c.left, got)
		}
	}
}

func TestExpiryInTheListHasAWordWhereItIsNear(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for want, end := range map[string]time.Time{
		"2029-12-31 (expired)": now.Add(-24 * time.Hour),
		"2030-01-06 (5 days)":  now.Add(5 * 24 * time.Hour),
		"2031-01-01":           now.AddDate(1, 0, 0),
	} {
		if got := (policyRow{Certificate: &certificate{NotAfter: end}}).expiry(now); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}

func TestExitCodesFollowTheCause(t *testing.T) {
	failed := func(kind key.Kind) error { return fmt.Errorf("x: %w", key.NewError(kind, "y")) }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{errors.New("x"), exitFailed},
		{failed(key.BadRequest), exitRefused},
		{failed(key.NoSuchAddress), exitRefused},
		{failed(key.BadToken), exitRefused},
		{failed(key.Throttled), exitUnavailable},
		{failed(key.Unavailable), exitUnavailable},
		{failed(key.Broken), exitUnavailable},
		{failed(key.NoAnswer), exitUnavailable},
		{failed(key.Untrusted), exitUnavailable},
		{failed(key.Elsewhere), exitUnavailable},
		{failed(key.UnusableAnswer), exitUnavailable},
		{failed(key.Unsupported), exitFailed},
		{failed(key.Refused), exitFailed},
		{fmt.Errorf("x: %w", context.Canceled), exitInterrupted},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), exitUnavailable},
		{fmt.Errorf("x: %w", signpath.ErrWrongSignature), exitUnverified},
		{withHint(usageError("x"), "y"), exitUsage},
		{withCode(exitMissingTool, failed(key.BadRequest)), exitMissingTool},
		{errors.Join(errors.New("x"), withCode(exitSettings, errors.New("y"))), exitSettings},
	} {
		if got := exitCodeOf(c.err); got != c.want {
			t.Errorf("%v: %d instead of %d", c.err, got, c.want)
		}
	}
}

// Whatever a service, a file name or a user id says: no line of ours has a control character or is a command to a CI system, and
// --json stays the same document.
func TestWhatComesFromOutsideIsOnlyText(t *testing.T) {
	for _, text := range []string{
		"::set-env name=X::1", "  ::add-mask::x", "##[error]x", "a ##vso[task.setvariable variable=X]1", "##teamcity[x]", "###[group]x",
		"section_start:1:a\r\x1b[0K", "a\n::set-env name=X::1", "\x1b]0;title\a", "\u009b31m", "a\u202eb", "\xff", "a\tb\x00\x7f",
	} {
		u, stdout, stderr := testUI()
		u.note("%s", text)
		u.warning("%s", text)
		u.hint("%s", text)
		u.fail(withHint(errors.New(text), text))
		p := u.newProgress(1, "files")
		p.step("%s", text)
		p.finish()
		u.line("%s", text)
		u.paintedLine(red, text)
		u.table([]string{text}, [][]string{{text, text}})
		u.statusTable([][]string{{text, text}}, []colour{red})
		if err := u.document(map[string]string{"a": text, text: "b"}); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(stdout.String()+stderr.String(), "\n") {
			if control := strings.IndexFunc(line, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }); control >= 0 {
				t.Errorf("%q: a line has a control character: %q", text, line)
			}
			if strings.HasPrefix(strings.TrimSpace(line), "::") || regexp.MustCompile(`##\w*\[`).MatchString(line) {
				t.Errorf("%q: a line is a command: %q", text, line)
			}
		}
		start := strings.Index(stdout.String(), "{\n")
		var document map[string]string
		if err := json.Unmarshal(stdout.Bytes()[start:], &document); err != nil || document["a"] != strings.ToValidUTF8(text, "\ufffd") {
			t.Errorf("%q became %q in JSON, %v", text, document["a"], err)
		}
	}
}

func TestHarmlessTextStaysAsItIs(t *testing.T) {
	for _, text := range []string{"dëmo/a: signed", "C# and ## [x]", "std::string", "#[x]", "日本語 – €"} {
		u, stdout, _ := testUI()
		u.line("%s", text)
		if stdout.String() != text+"\n" {
			t.Errorf("%q became %q", text, stdout)
		}
	}
}
