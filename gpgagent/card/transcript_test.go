package card

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"signkit/gpgagent/assuan"
)

// The recorded dialogues of seven versions of GnuPG; testdata/README.md tells
// what the lines mean.
func TestRecordedDialogues(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "gnupg-*", "*.txt"))
	if err != nil || len(files) < 7*6 {
		t.Fatalf("%d dialogues, %v", len(files), err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(path, "testdata/"), ".txt")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			// Each part is a situation of its own.
			for part := range strings.SplitSeq(string(text), "\n\n") {
				r := &replay{t: t}
				r.play(part)
				r.end()
			}
		})
	}
}

// replay is one card program at a time and its connections.
type replay struct {
	t     *testing.T
	names []string // of the keys
	where string   // line in question, for messages
	bench *bench
	conns map[string]*connection
}

var dialogueLine = regexp.MustCompile(`^(\d*)([<>]) (.*)$`)

func (r *replay) play(part string) {
	r.names = []string{"rsa3072", "p256"}
	for number, line := range strings.Split(strings.TrimSpace(part), "\n") {
		r.where = fmt.Sprintf("line %d of the part: %s", number+1, line)
		if order, ok := strings.CutPrefix(line, "! "); ok {
			r.order(strings.Fields(order))
			continue
		}
		match := dialogueLine.FindStringSubmatch(line)
		switch {
		case match == nil && !strings.HasPrefix(line, "#"):
			r.t.Fatalf("unknown line: %s", r.where)
		case match == nil:
		case match[2] == ">":
			r.say(r.connection(match[1]), match[3])
		default:
			r.expect(r.connection(match[1]), match[3])
		}
	}
}

func (r *replay) order(words []string) {
	switch words[0] {
	case "keys":
		r.names = nil
		for _, name := range words[1:] {
			r.names = append(r.names, strings.Trim(name, "{}"))
		}
	case "start":
		r.end()
		r.bench = newBench(r.t, r.names...)
		r.conns = map[string]*connection{"": r.bench.connect()}
	case "connect":
		r.conns[words[1]] = r.bench.connect()
	case "fail":
		code, err := strconv.Atoi(words[1])
		if err != nil {
			r.t.Fatal(r.where)
		}
		r.bench.failNext(&assuan.Error{Code: assuan.Code(code), Err: fmt.Errorf("as recorded")})
	case "end":
		r.end()
	default:
		r.t.Fatalf("unknown order: %s", r.where)
	}
}

// end closes what is open and waits for it.
func (r *replay) end() {
	for _, c := range r.conns {
		c.close(r.t)
	}
	r.conns = nil
}

func (r *replay) connection(name string) *connection {
	c := r.conns[name]
	if c == nil {
		r.t.Fatalf("no such connection: %s", r.where)
	}
	return c
}

// say sends a line and remembers what its answer depends on.
func (r *replay) say(c *connection, line string) {
	line = r.expand(line)
	words := strings.Fields(line)
	switch words[0] {
	case "SETDATA":
		c.data = words[1]
	case "PKSIGN":
		c.signing = words[len(words)-1]
	}
	c.send(r.t, line)
}

// expand puts the test's keygrips into a line.
func (r *replay) expand(line string) string {
	for _, name := range testKeyNames {
		line = strings.ReplaceAll(line, "{"+name+"}", testEntry(r.t, name).Keygrip)
	}
	line = strings.ReplaceAll(line, "{socket}", testSocket)
	line = strings.ReplaceAll(line, "{serial}", SerialNumber)
	return strings.ReplaceAll(line, "{greeting}", testGreeting)
}

var dataLine = regexp.MustCompile(`^D \{(signature|public (\w+)) (\d+) octets\}$`)

func (r *replay) expect(c *connection, line string) {
	if match := dataLine.FindStringSubmatch(line); match != nil {
		data := c.readData(r.t)
		if strconv.Itoa(len(data)) != match[3] {
			r.t.Errorf("%d octets, want %s: %s", len(data), match[3], r.where)
		}
		if match[1] == "signature" {
			r.checkSignature(c, data)
		} else {
			r.checkPublic(match[2], data)
		}
		return
	}
	want := r.expand(line)
	got := c.read(r.t)
	if strings.HasPrefix(want, "ERR ") { // whose text no program reads
		got = strings.Join(strings.Fields(got)[:2], " ")
	}
	if got != want {
		r.t.Errorf("the card says %q: %s", got, r.where)
	}
}

func (r *replay) checkPublic(name string, data []byte) {
	k, err := newKey(testEntry(r.t, name))
	if err != nil {
		r.t.Fatal(err)
	}
	if !bytes.Equal(data, k.canonical) {
		r.t.Errorf("another key: %s", r.where)
	}
}

// checkSignature verifies a signature over what SETDATA gave.
func (r *replay) checkSignature(c *connection, signature []byte) {
	data, err := hex.DecodeString(c.data)
	if err != nil {
		r.t.Fatal(err)
	}
	hash, digest, err := readDigestInfo(data)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range r.names {
		if e := testEntry(r.t, name); e.Keygrip == c.signing {
			if !verifyCard(r.t, e, hash, digest, signature) {
				r.t.Errorf("the signature does not verify: %s", r.where)
			}
			return
		}
	}
	r.t.Errorf("no such key %s: %s", c.signing, r.where)
}
