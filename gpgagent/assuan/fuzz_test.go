package assuan

import (
	"context"
	"strings"
	"testing"
)

// Whatever a client sends, each line that is a command gets one OK or ERR, no
// line is too long, and the server neither fails nor hangs.
func FuzzServe(f *testing.F) {
	for _, seed := range []string{
		"", "TELL\n", "KEEP a%0D%0a%25\nTELL\n", "KEEP \x00\xff\n\n#\nTELL\r\nBYE\nTELL\n", "FAIL\nPANIC\nSTOP\nTELL\n",
		"SHOW  --hash=sha256 -- 43A0C903\n", "D data\nEND\nCAN\n",
		strings.Repeat("A", 999) + "\n" + strings.Repeat("B", 1002) + "\nTELL\n",
		"KEEP " + strings.Repeat("%", 990) + "\nTELL\n", "\r\n\r\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		answers, err := talk(t, testServer(), input)
		if err != nil && err != ErrStop {
			t.Fatalf("Serve = %v", err)
		}
		final := 0
		for line := range strings.Lines(answers) {
			line, ok := strings.CutSuffix(line, "\n")
			if !ok || len(line) > maxLine || strings.Contains(line, "\r") {
				t.Fatalf("line %q", line)
			}
			word, _, _ := strings.Cut(line, " ")
			switch word {
			case "OK", "ERR":
				final++
			case "D", "S":
			default:
				t.Fatalf("line %q", line)
			}
		}
		if want := commandLines(input); final != want {
			t.Fatalf("%d final lines for %d commands in %q: %q", final, want, input, answers)
		}
	})
}

// commandLines counts what must be answered, up to a command that ends it all.
func commandLines(input string) int {
	n := 0
	lines := strings.Split(input, "\n")
	for _, line := range lines[:len(lines)-1] {
		line = strings.TrimSuffix(line, "\r")
		if len(line) <= maxLine && isBlank(line) {
			continue
		}
		n++
		if word := strings.ToUpper(strings.Fields(line)[0]); len(line) <= maxLine && (word == "BYE" || word == "STOP") {
			break
		}
	}
	return n
}

// What Data writes is what a client reads.
func FuzzData(f *testing.F) {
	f.Add([]byte("%\r\n\x00"))
	f.Add([]byte(strings.Repeat("a", 996) + "%%%"))
	f.Fuzz(func(t *testing.T, data []byte) {
		big := Command[*memory]{"BIG", func(_ *memory, _ context.Context, c *Call) error { c.Data(data); return nil }, "BIG: data"}
		answers, err := talk(t, testServer(big), "BIG\n")
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for line := range strings.Lines(answers) {
			if len(line) > maxLine+1 {
				t.Fatalf("line of %d octets", len(line)-1)
			}
			if rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "D "); ok {
				got.WriteString(unescape(rest))
			}
		}
		if got.String() != string(data) {
			t.Fatalf("%q came back as %q", data, got.String())
		}
	})
}
