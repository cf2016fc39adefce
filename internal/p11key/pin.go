package p11key

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/miekg/pkcs11"
)

// pinLimit is more than any token takes.
const pinLimit = 4096

// readPIN reads the PIN without the end of its line. Errors, these and those of a login, do not show the file's name: it may
// be the PIN itself, put into the wrong place.
func readPIN(path string) (string, error) {
	f, err := os.Open(path)
	if failed, ok := errors.AsType[*os.PathError](err); ok {
		return "", fmt.Errorf("reading the PIN: the PIN file cannot be opened: %w; name a file that holds the PIN", failed.Err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, pinLimit+1))
	if failed, ok := errors.AsType[*os.PathError](err); ok {
		err = failed.Err
	}
	if err != nil {
		return "", fmt.Errorf("reading the PIN: %w; check the PIN file", err)
	}
	pin := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case pin == "":
		return "", errors.New("the PIN file is empty")
	case len(data) > pinLimit:
		return "", fmt.Errorf("the PIN file has more than %d bytes; it must hold the PIN alone", pinLimit)
	case strings.ContainsAny(pin, "\n\r\x00"):
		return "", errors.New("the PIN file has more than one line; it must hold the PIN alone")
	}
	return pin, nil
}

// logIn logs the user in (or confirms the key's next use: CKU_CONTEXT_SPECIFIC) where the
// token wants that. All sessions of a process share one login, so that it may have been made.
// The caller holds setup: else two calls could try the same wrong PIN.
func (m *Module) logIn(s *session, user uint) error {
	pin, err := m.pin(s, user)
	if err != nil {
		return err
	}
	if pin == "" && user == pkcs11.CKU_USER && !s.token.has(pkcs11.CKF_LOGIN_REQUIRED) {
		return nil
	}
	name, hash := s.token.info.SerialNumber+"\x00"+s.token.info.Label, sha256.Sum256([]byte(pin))
	if pin != "" && m.library.refused[name] == hash {
		return fmt.Errorf("%s has refused this PIN before, and it is not tried again; correct the PIN file", m.options.tokenName())
	}
	err = m.library.ctx.Login(s.handle, user, pin)
	if err == nil || isCode(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) && user == pkcs11.CKU_USER {
		return nil
	}
	if isCode(err, wrongPIN...) {
		m.library.refused[name] = hash
	}
	return m.loginError(err)
}

// pin is empty for a token that wants none, or asks for it on a keypad of its own.
func (m *Module) pin(s *session, user uint) (string, error) {
	if m.options.PINFile != "" {
		return readPIN(m.options.PINFile)
	}
	required := user != pkcs11.CKU_USER || s.token.has(pkcs11.CKF_LOGIN_REQUIRED)
	if required && !s.token.has(pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH) {
		return "", fmt.Errorf("%s wants a PIN; name a PIN file", m.options.tokenName())
	}
	return "", nil
}

var wrongPIN = []uint{pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE}

func (m *Module) loginError(err error) error {
	hint := ""
	switch {
	case isCode(err, wrongPIN...):
		hint = "; correct the PIN file"
	case isCode(err, pkcs11.CKR_PIN_LOCKED):
		hint = "; too many wrong PINs were tried: the token's security officer must unlock it"
	case isCode(err, pkcs11.CKR_PIN_EXPIRED):
		hint = "; set a new PIN with the token's own tool, and put it into the PIN file"
	case isCode(err, pkcs11.CKR_USER_PIN_NOT_INITIALIZED):
		hint = "; the token has no user PIN yet, or it is not the token that is meant: check the token label"
	}
	return fmt.Errorf("%s: C_Login: %w%s", m.options.tokenName(), err, hint)
}
