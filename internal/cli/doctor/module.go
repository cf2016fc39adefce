package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"

	"signkit/internal/config"
)

// module loads the PKCS#11 module as a tool does, and looks for the keys through it.
func (e *examination) module(context.Context) {
	const area = "pkcs11"
	if e.Module == "" {
		e.problem(area, "module", "libsignkit-pkcs11.so is not installed", "install signkit as a whole; the module belongs into /usr/lib/signkit")
		return
	}
	p := pkcs11.New(e.Module)
	if p == nil {
		e.problem(area, "module", e.Module+" cannot be loaded", "it needs glibc 2.17 or musl, and this machine's architecture")
		return
	}
	defer p.Destroy()
	if err := p.Initialize(); err != nil {
		e.problem(area, "module", e.Module+": "+err.Error(), "signkit-tokend, of the same version, belongs beside the module")
		return
	}
	defer p.Finalize()
	if err := e.listThrough(p); err != nil {
		e.problem(area, "module", e.Module+": "+err.Error(), "see the line that signkit wrote before this one")
	}
}

func (e *examination) listThrough(p *pkcs11.Ctx) error {
	const area = "pkcs11"
	slots, err := p.GetSlotList(true)
	if err != nil || len(slots) == 0 {
		return errors.Join(err, errors.New("no token is present"))
	}
	info, err := p.GetTokenInfo(slots[0])
	if err != nil {
		return err
	}
	e.ok(area, "module", fmt.Sprintf("%s, slot %d, token %s", e.Module, slots[0], strings.TrimSpace(info.Label)))
	if len(e.keys) == 0 {
		e.skip(area, "objects", "not listed: no usable keys")
		return nil
	}
	session, err := p.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return fmt.Errorf("opening a session: %w", err)
	}
	if err := p.Login(session, pkcs11.CKU_USER, config.PINFromConfig); err != nil {
		return fmt.Errorf("login with the PIN %s: %w", config.PINFromConfig, err)
	}
	for _, key := range e.keys {
		if err := findKey(p, session, key.ID()); err != nil {
			return err
		}
	}
	e.ok(area, "objects", fmt.Sprintf("%d keys are found by name", len(e.keys)))
	return nil
}

func findKey(p *pkcs11.Ctx, session pkcs11.SessionHandle, name string) error {
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_LABEL, name),
	}
	if err := p.FindObjectsInit(session, template); err != nil {
		return fmt.Errorf("searching for %s: %w", name, err)
	}
	found, _, err := p.FindObjects(session, 1)
	if err = errors.Join(err, p.FindObjectsFinal(session)); err != nil || len(found) == 0 {
		return errors.Join(fmt.Errorf("searching for %s found nothing", name), err)
	}
	return nil
}
