// Package sexp builds and reads canonical S-expressions, the form in which
// GnuPG exchanges keys: "(3:abc(1:x2:yz))". Atoms are octet strings with their
// decimal length in front; there is no white space and no other notation.
//
// The grammar is that of Rivest's S-expressions (RFC 9804, section 6.1):
//
//	sexp   = atom / "(" *sexp ")"
//	atom   = length ":" octets
//	length = "0" / %x31-39 *DIGIT
//
// Display hints ("[…]") are refused, as GnuPG's own parsers do for keys.
package sexp

import (
	"errors"
	"fmt"
	"strconv"
)

const (
	maxDepth = 16      // of nested lists; keys need 4
	maxSize  = 1 << 20 // of an expression; keys need 2200 octets
)

// Expr is a list or an atom. The zero value is the empty atom.
type Expr struct {
	IsList bool
	Atom   []byte // when not IsList
	List   []Expr // when IsList
}

// Atom makes an atom of text or octets.
func Atom[T ~string | ~[]byte](value T) Expr { return Expr{Atom: []byte(value)} }

// List makes a list.
func List(items ...Expr) Expr { return Expr{IsList: true, List: items} }

// Canonical returns the canonical form.
func (e Expr) Canonical() []byte { return e.append(nil) }

func (e Expr) append(to []byte) []byte {
	if !e.IsList {
		to = strconv.AppendInt(to, int64(len(e.Atom)), 10)
		return append(append(to, ':'), e.Atom...)
	}
	to = append(to, '(')
	for _, item := range e.List {
		to = item.append(to)
	}
	return append(to, ')')
}

// Find returns the rest of the first list among e's items whose first item is
// the atom named: Find("e") on (rsa (n 5) (e 3)) is (3). It reports whether
// there is one.
func (e Expr) Find(name string) ([]Expr, bool) {
	for _, item := range e.List {
		if item.Is(name) {
			return item.List[1:], true
		}
	}
	return nil, false
}

// Is reports whether e is a list that begins with the atom named.
func (e Expr) Is(name string) bool {
	return e.IsList && len(e.List) > 0 && !e.List[0].IsList && string(e.List[0].Atom) == name
}

// Parse reads one expression and nothing after it. The atoms share memory with
// data.
func Parse(data []byte) (Expr, error) {
	if len(data) > maxSize {
		return Expr{}, fmt.Errorf("s-expression of %d octets: at most %d are read", len(data), maxSize)
	}
	p := parser{data: data}
	e, err := p.expr(0)
	if err != nil {
		return Expr{}, fmt.Errorf("s-expression, octet %d: %w", p.at, err)
	}
	if p.at != len(data) {
		return Expr{}, fmt.Errorf("s-expression, octet %d: something follows it", p.at)
	}
	return e, nil
}

type parser struct {
	data []byte
	at   int
}

func (p *parser) expr(depth int) (Expr, error) {
	switch {
	case depth > maxDepth:
		return Expr{}, errors.New("nested too deep")
	case p.at == len(p.data):
		return Expr{}, errors.New("ends early")
	case p.data[p.at] == '(':
		return p.list(depth)
	}
	return p.atom()
}

func (p *parser) list(depth int) (Expr, error) {
	p.at++
	list := Expr{IsList: true}
	for p.at < len(p.data) {
		if p.data[p.at] == ')' {
			p.at++
			return list, nil
		}
		item, err := p.expr(depth + 1)
		if err != nil {
			return Expr{}, err
		}
		list.List = append(list.List, item)
	}
	return Expr{}, errors.New("ends inside a list")
}

func (p *parser) atom() (Expr, error) {
	length, err := p.length()
	if err != nil {
		return Expr{}, err
	}
	if length > len(p.data)-p.at {
		return Expr{}, errors.New("ends inside an atom")
	}
	atom := p.data[p.at : p.at+length : p.at+length]
	p.at += length
	return Expr{Atom: atom}, nil
}

// length reads "12:". The bound on the size of the data also bounds it.
func (p *parser) length() (int, error) {
	n, start := 0, p.at
	for ; p.at < len(p.data); p.at++ {
		c := p.data[p.at]
		switch {
		case c == ':' && p.at > start:
			p.at++
			return n, nil
		case c < '0' || c > '9':
			return 0, fmt.Errorf("%q where a length is expected", c)
		case p.at > start && n == 0:
			return 0, errors.New("length with a leading zero")
		}
		if n = n*10 + int(c-'0'); n > maxSize {
			return 0, errors.New("length out of bounds")
		}
	}
	return 0, errors.New("ends inside a length")
}
