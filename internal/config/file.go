package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	largestFile  = 1 << 20 // bytes
	deepestLevel = 32      // of nested objects; the settings need three
)

// file is a parsed configuration file.
type file struct {
	name     string
	values   map[string]value // by documented name; members of nested objects joined by dots
	warnings []string
}

// value is one JSON string, number or boolean, as text.
type value struct {
	text string
	line int
	list bool // it was an array, which no setting is
}

// has reports whether the file gives the setting a value.
func (f *file) has(name string) bool {
	v := f.values[name]
	return v.list || v.text != ""
}

func readFile(name string) (*file, error) {
	data, err := readRegular(name, largestFile)
	if err != nil {
		return nil, err
	}
	return parseFile(name, data)
}

// parseFile reads the text of a configuration file (RFC 8259, UTF-8, a byte order mark
// is accepted). What no setting is called yields a warning.
func parseFile(name string, data []byte) (*file, error) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, fmt.Errorf("%s is UTF-16; save it as UTF-8", name)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s is not UTF-8; save it as UTF-8", name)
	}
	if err := checkSyntax(name, data); err != nil {
		return nil, err
	}
	r := &reader{name: name, data: data, decoder: json.NewDecoder(bytes.NewReader(data)), values: map[string]value{}}
	r.decoder.UseNumber()
	if err := r.document(); err != nil {
		return nil, err
	}
	return r.file(), nil
}

// checkSyntax refuses everything but one JSON value, and names line and column.
func checkSyntax(name string, data []byte) error {
	var anything any
	err := json.Unmarshal(data, &anything)
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	line, column := position(data, syntax.Offset)
	return fmt.Errorf("%s:%d:%d: %w", name, line, column, err)
}

// position turns an offset just behind a byte into that byte's line and column, from 1.
func position(data []byte, offset int64) (line, column int) {
	before := data[:max(0, min(offset-1, int64(len(data))))]
	line = 1 + bytes.Count(before, []byte("\n"))
	column = 1 + utf8.RuneCount(before[1+bytes.LastIndexByte(before, '\n'):])
	return line, column
}

// reader walks through the tokens of a document that is known to be JSON.
type reader struct {
	name     string
	data     []byte
	decoder  *json.Decoder
	keys     []string // in the order of the file
	values   map[string]value
	warnings []string
}

func (r *reader) document() error {
	token, err := r.decoder.Token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') {
		return fmt.Errorf("%s:1:1: it is not a JSON object; write {\"ApiUrl\": \"…\", …}", r.name)
	}
	return r.object("", 1)
}

// object reads the members up to the closing brace.
func (r *reader) object(prefix string, depth int) error {
	if depth > deepestLevel {
		return fmt.Errorf("%s:%d: objects are nested more than %d deep", r.name, r.line(), deepestLevel)
	}
	for r.decoder.More() {
		key, err := r.decoder.Token()
		if err != nil {
			return err
		}
		if err := r.member(fmt.Sprint(prefix, key), depth); err != nil {
			return err
		}
	}
	_, err := r.decoder.Token()
	return err
}

func (r *reader) member(name string, depth int) error {
	token, err := r.decoder.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return r.object(name+".", depth+1)
	case json.Delim('['):
		r.keep(name, value{line: r.line(), list: true})
		return r.skipList()
	case nil:
		return nil
	}
	r.keep(name, value{line: r.line(), text: fmt.Sprint(token)})
	return nil
}

func (r *reader) keep(name string, v value) {
	if _, seen := r.values[name]; seen {
		r.warn("%s occurs twice; the one in line %d counts", quote(name), v.line)
	} else {
		r.keys = append(r.keys, name)
	}
	r.values[name] = v
}

// skipList reads to the end of an array whose bracket has been read.
func (r *reader) skipList() error {
	for open := 1; open > 0; {
		token, err := r.decoder.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			open++
		case json.Delim(']'), json.Delim('}'):
			open--
		}
	}
	return nil
}

// line is the line of the token that was read last.
func (r *reader) line() int {
	line, _ := position(r.data, r.decoder.InputOffset())
	return line
}

func (r *reader) warn(format string, args ...any) {
	r.warnings = append(r.warnings, "file "+r.name+": "+fmt.Sprintf(format, args...))
}

// file keeps what is documented and warns about the rest.
func (r *reader) file() *file {
	known := jsonNames()
	f := &file{name: r.name, values: map[string]value{}}
	for _, key := range r.keys {
		switch name := documented(known, key); {
		case name == key:
			f.values[name] = r.values[key]
		case name != "":
			r.warn("%s is spelled %s; correct it", quote(key), name)
			if _, exact := r.values[name]; !exact {
				f.values[name] = r.values[key]
			}
		default:
			r.warn("%s", unknownKey(known, key))
		}
	}
	f.warnings = r.warnings
	return f
}

// documented returns the known name that key is, or differs from in case alone.
func documented(known []string, key string) string {
	found := ""
	for _, name := range known {
		if name == key {
			return name
		}
		if strings.EqualFold(name, key) {
			found = name
		}
	}
	return found
}
