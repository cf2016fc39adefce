package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/miekg/pkcs11"
)

// moduleClientCommand is this program as a host of the module: MODULE KEY. It reads digests, one a line, and answers each with
// "signed SIGNATURE" or "failed REASON". When its session is lost it initializes the module anew, as PKCS#11 wants it.
const moduleClientCommand = "module-client"

func moduleClient(args []string) error {
	if len(args) != 2 {
		return errors.New("want MODULE KEY")
	}
	library := pkcs11.New(args[0])
	if library == nil {
		return fmt.Errorf("%s cannot be loaded", args[0])
	}
	h := &host{library: library, key: args[1]}
	defer h.end()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		digest, err := hex.DecodeString(lines.Text())
		if err != nil {
			return err
		}
		signature, err := h.sign(digest)
		if err != nil {
			h.end()
			fmt.Println("failed", strings.ReplaceAll(err.Error(), "\n", " "))
			continue
		}
		fmt.Printf("signed %x\n", signature)
	}
	return nil
}

// host is a session that is opened when it is wanted.
type host struct {
	library *pkcs11.Ctx
	key     string
	open    bool
	session pkcs11.SessionHandle
	private pkcs11.ObjectHandle
}

// sha256Info is the beginning of a DigestInfo of SHA-256, which CKM_RSA_PKCS wants.
const sha256Info = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"

func (h *host) sign(digest []byte) ([]byte, error) {
	if !h.open {
		if err := h.begin(); err != nil {
			return nil, err
		}
	}
	mechanism, data := uint(pkcs11.CKM_ECDSA), digest
	if strings.Contains(h.key, "rsa") {
		mechanism, data = pkcs11.CKM_RSA_PKCS, append([]byte(sha256Info), digest...)
	}
	if err := h.library.SignInit(h.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, h.private); err != nil {
		return nil, fmt.Errorf("C_SignInit: %w", err)
	}
	signature, err := h.library.Sign(h.session, data)
	if err != nil {
		return nil, fmt.Errorf("C_Sign: %w", err)
	}
	return signature, nil
}

func (h *host) begin() error {
	if err := h.library.Initialize(); err != nil {
		return fmt.Errorf("C_Initialize: %w", err)
	}
	h.open = true
	slots, err := h.library.GetSlotList(true)
	if err == nil && len(slots) == 0 {
		err = errors.New("no slot")
	}
	if err != nil {
		return fmt.Errorf("C_GetSlotList: %w", err)
	}
	if h.session, err = h.library.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION); err != nil {
		return fmt.Errorf("C_OpenSession: %w", err)
	}
	if err := h.library.Login(h.session, pkcs11.CKU_USER, pin); err != nil {
		return fmt.Errorf("C_Login: %w", err)
	}
	return h.find()
}

func (h *host) find() error {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, h.key)}
	if err := h.library.FindObjectsInit(h.session, template); err != nil {
		return fmt.Errorf("C_FindObjectsInit: %w", err)
	}
	found, _, err := h.library.FindObjects(h.session, 1)
	if err := errors.Join(err, h.library.FindObjectsFinal(h.session)); err != nil {
		return fmt.Errorf("C_FindObjects: %w", err)
	}
	if len(found) == 0 {
		return fmt.Errorf("no key %s", h.key)
	}
	h.private = found[0]
	return nil
}

// end lets the next signature begin anew.
func (h *host) end() {
	if h.open {
		_ = h.library.Finalize() // the agent may be gone
	}
	h.open = false
}
