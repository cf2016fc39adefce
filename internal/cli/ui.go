package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"signkit/internal/logging"
)

// The rules of this user interface:
//
//   - Standard output has what was asked for, and nothing else: a table, a key, a signature,
//     shell lines. With --json it is one JSON document.
//   - Everything else goes to standard error: "error:" is one line that says what failed,
//     "hint:" lines below it say what to change, "warning:" did not stop the work.
//   - Progress is one line that is rewritten on a terminal, and plain lines elsewhere.
//   - Secrets are replaced in whatever goes to standard error.
//   - What comes from outside cannot act as anything but text (logging.Line): each line, each cell of
//     a table and each JSON document goes through it here. write is for what must stay as it is.
type ui struct {
	stdout, stderr io.Writer
	json           bool
	redactor       *logging.Redactor

	mu       sync.Mutex // progress comes from many goroutines
	terminal bool       // stderr is one
	colour   bool       // stdout is a terminal that takes colours
	pending  bool       // a progress line stands without its line break
}

func newUI(stdout, stderr io.Writer, environ []string) *ui {
	return &ui{
		stdout: stdout, stderr: stderr,
		redactor: new(logging.Redactor),
		terminal: isTerminal(stderr),
		colour:   isTerminal(stdout) && lookup(environ, "NO_COLOR") == "" && lookup(environ, "TERM") != "dumb",
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// line writes one line to standard output.
func (u *ui) line(format string, args ...any) { u.paintedLine(noColour, fmt.Sprintf(format, args...)) }

// paintedLine is line in a colour, where colours are taken.
func (u *ui) paintedLine(c colour, text string) {
	fmt.Fprintln(u.stdout, u.paint(c, logging.Line(text)))
}

// write writes bytes to standard output as they are.
func (u *ui) write(data []byte) error {
	if _, err := u.stdout.Write(data); err != nil {
		return fmt.Errorf("writing to standard output: %w", err)
	}
	return nil
}

// document writes the one JSON document of --json.
func (u *ui) document(v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // "<" of an email address stays readable
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return err
	}
	return u.write(logging.JSON(b.Bytes()))
}

// table writes aligned columns; header may be nil.
func (u *ui) table(header []string, rows [][]string) { writeTable(u.stdout, header, rows) }

func writeTable(w io.Writer, header []string, rows [][]string) {
	if header != nil {
		rows = append([][]string{header}, rows...)
	}
	for _, line := range tableLines(rows) {
		fmt.Fprintln(w, line)
	}
}

// statusTable is a table whose last column is in colours, one a row.
func (u *ui) statusTable(rows [][]string, colours []colour) {
	for i, line := range tableLines(rows) {
		status := logging.Line(rows[i][len(rows[i])-1])
		fmt.Fprintln(u.stdout, strings.TrimSuffix(line, status)+u.paint(colours[i], status))
	}
}

func tableLines(rows [][]string) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(logging.Line(cell)))
		}
	}
	var lines []string
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			cell = logging.Line(cell)
			b.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

// colour is an SGR parameter of ECMA-48.
type colour string

const (
	noColour colour = ""
	red      colour = "31"
	green    colour = "32"
)

func (u *ui) paint(c colour, s string) string {
	if !u.colour || c == noColour {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

// note, warning and hint are one line each on standard error.
func (u *ui) note(format string, args ...any)    { u.tell("", fmt.Sprintf(format, args...)) }
func (u *ui) warning(format string, args ...any) { u.tell("warning: ", fmt.Sprintf(format, args...)) }
func (u *ui) hint(format string, args ...any)    { u.tell("hint: ", fmt.Sprintf(format, args...)) }

// fail shows the error a command ended with: what failed, then what to do.
func (u *ui) fail(err error) {
	hints := hintsOf(err)
	text := err.Error()
	for _, hint := range hints {
		// The client's errors have their hint at the end of the one line that a log needs.
		text = strings.TrimSuffix(text, "; "+hint)
	}
	for _, line := range strings.Split(text, "\n") {
		u.tell("error: ", line)
	}
	for _, hint := range hints {
		u.tell("hint: ", hint)
	}
}

func (u *ui) tell(prefix, text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.endPending()
	fmt.Fprintln(u.stderr, logging.Line(prefix+u.redactor.Redact(text)))
}

func (u *ui) endPending() {
	if u.pending {
		fmt.Fprintln(u.stderr)
		u.pending = false
	}
}

// progress counts what many goroutines finish.
type progress struct {
	ui          *ui
	unit        string
	total, done int
}

// newProgress begins counting total things, "files" for example. With --json nothing is shown.
func (u *ui) newProgress(total int, unit string) *progress {
	return &progress{ui: u, total: total, unit: unit}
}

// step says that one more is finished, and how: "app.rpm: signed".
func (p *progress) step(format string, args ...any) {
	u := p.ui
	u.mu.Lock()
	defer u.mu.Unlock()
	p.done++
	if u.json {
		return
	}
	text := logging.Line(u.redactor.Redact(fmt.Sprintf(format, args...)))
	if !u.terminal {
		fmt.Fprintf(u.stderr, "[%d/%d] %s\n", p.done, p.total, text)
		return
	}
	fmt.Fprintf(u.stderr, "\r\x1b[K%d of %d %s  %s", p.done, p.total, p.unit, text)
	u.pending = true
}

// finish ends the progress line.
func (p *progress) finish() {
	p.ui.mu.Lock()
	defer p.ui.mu.Unlock()
	p.ui.endPending()
}
