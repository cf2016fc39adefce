package caller

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDescribeAnotherProcess(t *testing.T) {
	folder := t.TempDir()
	long := strings.Repeat("ä", 100) + ".txt"
	for _, name := range []string{"known-secret.txt", "1234", long} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// cat echoes its standard input before it opens the argument after that.
	cmd := exec.Command("cat", append([]string{"--", "-", "--pin=geheim-1", "1234", "./1234", "known-secret.txt", "none.txt", folder},
		slices.Repeat([]string{long}, 30)...)...)
	cmd.Dir = folder // not that of this process
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("cat does not start: %v", err)
	}
	defer func() { _ = cmd.Wait() }()
	defer stdin.Close()
	// Until it runs, it may have no command line yet.
	if _, err := stdin.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}

	redact := func(s string) string { return strings.ReplaceAll(s, "known-secret", "[redacted]") }
	p := Describe(cmd.Process.Pid, redact)
	if p.PID != cmd.Process.Pid || !strings.HasPrefix(p.CommandLine, "cat -- - --pin=[...] [...] ./1234 [redacted].txt [...] [...] ää") {
		t.Errorf("got %d %.90s", p.PID, p.CommandLine)
	}
	if len(p.CommandLine) > 4096 || len(p.CommandLine) < 4000 || !utf8.ValidString(p.CommandLine) {
		t.Errorf("the command line has %d bytes", len(p.CommandLine))
	}
	want := strconv.Itoa(os.Geteuid())
	if u, err := user.Current(); err == nil {
		want = u.Username
	}
	if p.User != want {
		t.Errorf("user %q, want %q", p.User, want)
	}
	if p.OSType != "Linux" || p.Architecture == "" {
		t.Errorf("got %+v", p)
	}
}

func TestDescribeAProcessThatIsGone(t *testing.T) {
	p := Describe(1<<30, nil)
	if p.CommandLine != "" || p.User != "" || p.OSType != "Linux" {
		t.Errorf("got %+v", p)
	}
}

func TestAnArgumentCutByTheReadingLimitIsLeftOut(t *testing.T) {
	data := []byte("tool\x00--x\x00" + strings.Repeat("s", longestRead))[:longestRead]
	if got := arguments(data); len(got) != 2 || got[1] != "--x" {
		t.Errorf("%d arguments", len(got))
	}
	if got := arguments([]byte("a\x00\x00b\x00")); len(got) != 3 || got[1] != "" {
		t.Errorf("got %q", got)
	}
}

func TestEffectiveUID(t *testing.T) {
	if got := effectiveUID("Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"); got != "2" {
		t.Errorf("got %q", got)
	}
	if got := effectiveUID("Name:\tx\n"); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestParseOSRelease(t *testing.T) {
	tests := map[string]string{
		"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n": "Debian 12",
		"NAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\n":                 "Ubuntu 24.04",
		"NAME=\"Red Hat Enterprise Linux\"\nVERSION_ID=\"9.4\"\n": "Red Hat Enterprise Linux 9.4",
		"NAME='Alpine Linux'\n# comment\nVERSION_ID=3.20.1\n":     "Alpine Linux 3.20.1",
		"NAME=Arch\\ Linux\nID=arch\n":                            "Arch\\ Linux",
		"":                                                        "",
	}
	for text, want := range tests {
		if got := parseOSRelease(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
