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

// readPIN reads the PIN without the end of its line.
func readPIN(path string) (string, error) {
	f, err := os.Open(path)
	if failed, ok := errors.AsType[*os.PathError](err); ok {
		// Without the name: a file that is not there may be the PIN itself.
		return "", fmt.Errorf("reading the PIN: the PIN file cannot be opened: %w; name a file that holds the PIN", failed.Err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, pinLimit+1))
	if err != nil {
		return "", fmt.Errorf("reading the PIN: %w; check the PIN file", err)
	}
	pin := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case pin == "":
		return "", fmt.Errorf("the PIN file %s is empty", path)
	case len(data) > pinLimit:
		return "", fmt.Errorf("the PIN file %s has more than %d bytes; it must hold the PIN alone", path, pinLimit)
	case strings.ContainsAny(pin, "\n\r\x00"):
		return "", fmt.Errorf("the PIN file %s has more than one line; it must hold the PIN alone", path)
	}
	return pin, nil
}

// logIn logs the user in (or confirms the key's next use: CKU_CONTEXT_SPECIFIC) where the
// token wants that.
func (m *Module) logIn(s *session, user uint) error {
	m.library.login.Lock()
	defer m.library.login.Unlock()
	pin, err := m.pin(s, user)
	if err != nil {
		return err
	}
	if pin == "" && user == pkcs11.CKU_USER && !s.token.has(pkcs11.CKF_LOGIN_REQUIRED) {
		return nil
	}
	if err := m.checkPIN(s, pin); err != nil {
		return err
	}
	err = m.library.ctx.Login(s.handle, user, pin)
	if err == nil && user == pkcs11.CKU_USER {
		m.library.loggedIn()
	}
	if err == nil || isCode(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) && user == pkcs11.CKU_USER {
		return nil
	}
	return m.loginError(s, pin, err)
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

// checkPIN refuses a PIN that the token has refused before: a few more tries would lock it.
func (m *Module) checkPIN(s *session, pin string) error {
	m.library.mu.Lock()
	defer m.library.mu.Unlock()
	if hash, ok := m.library.refused[tokenKey(s.token)]; ok && pin != "" && hash == sha256.Sum256([]byte(pin)) {
		return fmt.Errorf("%s has refused this PIN before, and it is not tried again; correct the PIN file %s",
			m.options.tokenName(), m.options.PINFile)
	}
	return nil
}

func (m *Module) loginError(s *session, pin string, err error) error {
	hint := ""
	switch {
	case isCode(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE):
		m.library.mu.Lock()
		m.library.refused[tokenKey(s.token)] = sha256.Sum256([]byte(pin))
		m.library.mu.Unlock()
		hint = "; correct the PIN file " + m.options.PINFile
	case isCode(err, pkcs11.CKR_PIN_LOCKED):
		hint = "; too many wrong PINs were tried: the token's security officer must unlock it"
	case isCode(err, pkcs11.CKR_PIN_EXPIRED):
		hint = "; set a new PIN with the token's own tool, and put it into the PIN file " + m.options.PINFile
	case isCode(err, pkcs11.CKR_USER_PIN_NOT_INITIALIZED):
		hint = "; the token has no user PIN yet, or it is not the token that is meant: check the token label"
	}
	// Only the code: nothing that the module could have made of the PIN.
	var code pkcs11.Error
	if !errors.As(err, &code) {
		return fmt.Errorf("%s: C_Login failed%s", m.options.tokenName(), hint)
	}
	return fmt.Errorf("%s: C_Login: %w%s", m.options.tokenName(), code, hint)
}

// tokenKey names a token for as long as the process lives.
func tokenKey(t token) string { return t.info.SerialNumber + "\x00" + t.info.Label }
