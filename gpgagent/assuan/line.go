package assuan

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine is the longest line in either direction, without its end (Assuan,
// "Implementation": 1000 octets).
const maxLine = 1000

var errLineTooLong = &Error{LineTooLong, errors.New("a line of more than 1000 octets")}

// reader reads lines. Longer ones are skipped as a whole, so that no rest of
// one is taken for a command.
type reader struct{ r *bufio.Reader }

func newReader(r io.Reader) reader { return reader{bufio.NewReaderSize(r, maxLine+2)} }

// line returns the next line without its end, or errLineTooLong, after which
// reading goes on. A last line without an end is incomplete and not returned.
func (r reader) line() (string, error) {
	text, err := r.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", r.skip()
	}
	if err != nil {
		return "", err
	}
	text = bytes.TrimSuffix(text[:len(text)-1], []byte{'\r'})
	if len(text) > maxLine {
		return "", errLineTooLong
	}
	return string(text), nil
}

func (r reader) skip() error {
	for {
		_, err := r.r.ReadSlice('\n')
		switch {
		case err == nil:
			return errLineTooLong
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// writer writes lines. The first error stays: what follows goes nowhere.
type writer struct {
	w   *bufio.Writer
	err error
}

func newWriter(w io.Writer) *writer { return &writer{w: bufio.NewWriter(w)} }

// line writes one line. Its text must be escaped where it is not constant.
func (w *writer) line(text string) {
	if w.err == nil {
		_, w.err = w.w.WriteString(cut(text) + "\n")
	}
}

// cut shortens what exceeds a line, but not inside of an escape sequence.
func cut(text string) string {
	if len(text) <= maxLine {
		return text
	}
	end := maxLine
	for back := 1; back <= 2; back++ {
		if text[maxLine-back] == '%' {
			end = maxLine - back
		}
	}
	return text[:end]
}

// data writes octets as D lines, each of them full but for the last. An escape
// sequence is never divided between two lines.
func (w *writer) data(octets []byte) {
	line := make([]byte, 0, maxLine)
	for _, c := range octets {
		escaped := escapeOctet(c)
		if len(line)+len(escaped) > maxLine {
			w.line(string(line))
			line = line[:0]
		}
		if len(line) == 0 {
			line = append(line, "D "...)
		}
		line = append(line, escaped...)
	}
	if len(line) > 0 {
		w.line(string(line))
	}
}

func (w *writer) flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

// escape replaces what would end a line, and the escape character itself
// (Assuan, "Server responses").
func escape(text string) string {
	var b []byte
	for i := range len(text) {
		b = append(b, escapeOctet(text[i])...)
	}
	return string(b)
}

func escapeOctet(c byte) string {
	switch c {
	case '%':
		return "%25"
	case '\r':
		return "%0D"
	case '\n':
		return "%0A"
	}
	return string([]byte{c})
}

// unescape reads %XX. What only looks like it stays as it is: clients escape
// little, and no key's name holds a '%'.
func unescape(text string) string {
	var b []byte
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			high, low := digit(text[i+1]), digit(text[i+2])
			if high >= 0 && low >= 0 {
				b = append(b, byte(high<<4|low))
				i += 2
				continue
			}
		}
		b = append(b, text[i])
	}
	return string(b)
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
