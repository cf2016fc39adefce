package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// pinentry answers as the program that asks a person for a PIN: gnupg-pkcs11-scd wants one.
const pinentry = `#!/bin/sh
echo OK
while read -r line; do
  case $line in
    GETPIN*) echo 'D ` + pin + `' ;;
    BYE*) echo OK; exit ;;
  esac
  echo OK
done
`

// gpgHomes makes all sides. Those that were made are to be ended also after an error.
func (b *bench) gpgHomes() (*gpgHomes, error) {
	homes := new(gpgHomes)
	public := filepath.Join(b.dir, "public.asc")
	signkit := filepath.Join(filepath.Dir(b.module), "signkit")
	_, err := b.output(b.env, signkit, "gpg", "create", keyRSA, "--output", public,
		"--name", "Bench", "--email", gpgUser, "--expires", "never")
	if err != nil {
		return homes, err
	}
	for side, prepare := range [gpgSides]func(*gpgHome) error{
		bridge: func(h *gpgHome) error {
			_, err := b.output(b.env, signkit, "gpg", "init", "--homedir", h.dir, "--public-key", public, keyRSA)
			return err
		},
		agentBridge: func(h *gpgHome) (err error) {
			if h.agent, err = b.startAgent(b.env, keyRSA); err != nil {
				return err
			}
			h.env = append(h.agent.env, "GNUPGHOME="+h.dir)
			_, err = b.output(h.env, signkit, "gpg", "init", "--homedir", h.dir, "--public-key", public, keyRSA)
			return err
		},
		pkcs11Daemon: func(h *gpgHome) error { return b.preparePKCS11Daemon(h, public) },
		softKey:      func(h *gpgHome) error { return b.prepareSoftKey(h, "rsa3072") },
		gpgAlone:     func(h *gpgHome) error { return b.prepareSoftKey(h, "ed25519") },
	} {
		if homes[side], err = b.newGPGHome(fmt.Sprint("gpg", side), prepare); err != nil {
			return homes, fmt.Errorf("%s: %w", gpgNames[side], err)
		}
	}
	return homes, nil
}

func (b *bench) newGPGHome(name string, prepare func(*gpgHome) error) (*gpgHome, error) {
	h := &gpgHome{dir: filepath.Join(b.dir, name)}
	h.env = append(slices.Clone(b.env), "GNUPGHOME="+h.dir)
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		return h, err
	}
	if err := prepare(h); err != nil {
		return h, err
	}
	if err := h.signOne(b, 0); err != nil {
		return h, err
	}
	_, err := h.gpg(b, "--verify", h.file(0)+".sig", h.file(0))
	return h, err
}

func (b *bench) prepareSoftKey(h *gpgHome, kind string) error {
	_, err := h.gpg(b, "--passphrase", "", "--quick-generate-key", gpgUser, kind, "sign", "never")
	return err
}

// preparePKCS11Daemon sets gnupg-pkcs11-scd up as its manual says: LEARN makes the stubs.
func (b *bench) preparePKCS11Daemon(h *gpgHome, public string) error {
	program, err := exec.LookPath("gnupg-pkcs11-scd")
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{"pinentry", pinentry, 0o700},
		{"gpg-agent.conf", "scdaemon-program " + program + "\npinentry-program " + filepath.Join(h.dir, "pinentry") + "\n", 0o600},
		{"gnupg-pkcs11-scd.conf", "providers signkit\nprovider-signkit-library " + b.module + "\n", 0o600},
	} {
		if err := os.WriteFile(filepath.Join(h.dir, file.name), []byte(file.text), file.mode); err != nil {
			return err
		}
	}
	if _, err := h.gpg(b, "--import", public); err != nil {
		return err
	}
	_, err = b.output(h.env, "gpg-connect-agent", "LEARN", "/bye")
	return err
}

// end stops the agents, and with them what they started.
func (homes *gpgHomes) end(b *bench) {
	stopping := *b
	stopping.ctx = context.WithoutCancel(b.ctx)
	for _, home := range homes {
		if home != nil {
			_, _ = stopping.output(home.env, "gpgconf", "--kill", "all")
			_, _ = stopping.output(home.env, "gpgconf", "--remove-socketdir")
			if home.agent != nil {
				_ = home.agent.end()
			}
		}
	}
}
