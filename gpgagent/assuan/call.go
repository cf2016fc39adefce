package assuan

import "strings"

// Call is one command line and the way to answer it.
type Call struct {
	Name  string   // the command's word, in upper case
	Words []string // arguments that are not options, unescaped

	options []string // without "--"
	out     *writer
}

// parse reads a command line. Words are separated by any number of blanks. Words
// that begin with "--" are options wherever they stand, until one that is
// nothing else: some agents write two blanks, some "--", some neither.
func parse(line string, out *writer) *Call {
	c := &Call{out: out}
	options := true
	for i, word := range strings.Fields(line) {
		option, isOption := strings.CutPrefix(word, "--")
		switch {
		case i == 0:
			c.Name = strings.ToUpper(word)
		case options && word == "--":
			options = false
		case options && isOption:
			c.options = append(c.options, unescape(option))
		default:
			c.Words = append(c.Words, unescape(word))
		}
	}
	return c
}

// Word is the argument number i, from 0; "" where there is none.
func (c *Call) Word(i int) string {
	if i < len(c.Words) {
		return c.Words[i]
	}
	return ""
}

// Option finds --name or --name=value, and reports whether it is there.
func (c *Call) Option(name string) (value string, ok bool) {
	for _, option := range c.options {
		key, value, _ := strings.Cut(option, "=")
		if key == name {
			return value, true
		}
	}
	return "", false
}

// Status writes an S line: a keyword and its fields.
func (c *Call) Status(keyword string, fields ...string) {
	c.out.line(escape(strings.Join(append([]string{"S", keyword}, fields...), " ")))
}

// Data writes octets as D lines. Several calls make one string.
func (c *Call) Data(octets []byte) { c.out.data(octets) }

// Comment writes a line that programs ignore.
func (c *Call) Comment(text string) { c.out.line("# " + escape(text)) }
