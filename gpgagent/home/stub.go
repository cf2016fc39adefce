package home

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"signkit/gpgagent/card"
	"signkit/gpgagent/keyfile"
	"signkit/internal/sexp"
)

const (
	privateKeys = "private-keys-v1.d"
	reference   = "shadowed-private-key" // kind of a file there that is no private key itself
)

// RealKeyError reports a private key on disk with the keygrip of a remote key. It is never
// replaced.
type RealKeyError struct{ Path string }

func (e *RealKeyError) Error() string {
	return fmt.Sprintf("%s holds a private key, not a reference to one", e.Path)
}

// StubFile is where gpg-agent keeps the private key, or the reference to it, of a keygrip.
func (h *Home) StubFile(keygrip string) string {
	return filepath.Join(h.Dir, privateKeys, keygrip+".key")
}

// stubReplaceable reports whether a stub can be written under a keygrip, and whether a file is
// there: a reference (to this bridge's key, or to another's) can be replaced, a real key cannot.
func (h *Home) stubReplaceable(keygrip string) (exists bool, err error) {
	path := h.StubFile(keygrip)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, fmt.Errorf("looking at the key file: %w", err)
	}
	if kind(data) != reference {
		return true, &RealKeyError{path}
	}
	return true, nil
}

// kind is the first word of the key in a file of private-keys-v1.d, which holds a canonical
// S-expression or, in the extended format, "Name: value" lines of which Key is one; "" when
// there is none.
func kind(data []byte) string {
	if bytes.HasPrefix(data, []byte("(")) {
		e, err := sexp.Parse(bytes.TrimRight(data, "\x00\r\n"))
		if err != nil || !e.IsList || len(e.List) == 0 || e.List[0].IsList {
			return ""
		}
		return string(e.List[0].Atom)
	}
	expression := strings.TrimSpace(extendedField(string(data), "Key"))
	word, ok := strings.CutPrefix(expression, "(")
	if !ok {
		return ""
	}
	word = strings.TrimSpace(word)
	if end := strings.IndexAny(word, " \t\r\n()"); end >= 0 {
		word = word[:end]
	}
	return word
}

// extendedField is the value of a field with its continuation lines, which begin with a blank.
func extendedField(text, name string) string {
	var b strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			if inside {
				b.WriteString(line)
			}
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		inside = ok && strings.EqualFold(key, name)
		if inside {
			b.WriteString(value)
		}
	}
	return b.String()
}

// stub is the reference to a remote key, in the extended format. "Prompt: no" keeps newer agents
// from asking for a card to be inserted; the keygrip as card key's name is what every version
// then sends with PKSIGN.
func stub(entry keyfile.Entry) ([]byte, error) {
	public, err := entry.PublicKey()
	if err != nil {
		return nil, err
	}
	parameters, err := advanced(public)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "Token: %s %s - signkit\nPrompt: no\nLabel: signkit %s\n"+
		"Key: (shadowed-private-key (%s (shadowed t1-v1 (#%s# %q))))\n",
		card.SerialNumber, entry.Keygrip, label(entry.ID()), parameters, card.SerialNumber, entry.Keygrip), nil
}

// label keeps a name on its line.
func label(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// advanced writes the public key's parameters as GnuPG's stubs have them: octets in
// hexadecimal, the curve's name in quotes (RFC 9804, section 6.3).
func advanced(public crypto.PublicKey) (string, error) {
	canonical, err := sexp.PublicKey(public)
	if err != nil {
		return "", err
	}
	e, err := sexp.Parse(canonical)
	if err != nil {
		return "", err
	}
	algorithm := e.List[1].List
	words := []string{string(algorithm[0].Atom)}
	for _, parameter := range algorithm[1:] {
		name, value := string(parameter.List[0].Atom), parameter.List[1].Atom
		form := "(%s #%X#)"
		if name == "curve" {
			form = "(%s %q)"
		}
		words = append(words, fmt.Sprintf(form, name, value))
	}
	return strings.Join(words, " "), nil
}

// writeStub puts the stub into place: a new file is created as such, so that one that appears at
// the last moment stays; a reference is replaced in one step.
func (h *Home) writeStub(entry keyfile.Entry) error {
	data, err := stub(entry)
	if err != nil {
		return err
	}
	if err := os.Mkdir(h.file(privateKeys), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	exists, err := h.stubReplaceable(entry.Keygrip)
	if err != nil {
		return err
	}
	if exists {
		return replaceFile(h.StubFile(entry.Keygrip), data)
	}
	return createFile(h.StubFile(entry.Keygrip), data)
}

// createFile writes a file that must not exist.
func createFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, werr := f.Write(data)
	if err := errors.Join(werr, f.Close()); err != nil {
		os.Remove(path)
		return err
	}
	return nil
}

// replaceFile writes a file for this user alone, in one step.
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".signkit-*")
	if err != nil {
		return err
	}
	_, werr := tmp.Write(data)
	err = errors.Join(werr, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}
