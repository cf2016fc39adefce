package card

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"

	"signkit/gpgagent/assuan"
)

// usage says what keys are good for: s to sign, c to certify.
const usage = "sc"

// learn answers what gpg-agent asks to make references to all keys.
func (s *Session) learn(_ context.Context, c *assuan.Call) error {
	keys, _ := s.card.list.get()
	if _, only := c.Option("keypairinfo"); !only {
		c.Status("READER", "signkit")
		c.Status("SERIALNO", serial(c))
		c.Status("APPTYPE", "openpgp")
		c.Status("DISP-NAME", "signkit")
	}
	for _, k := range keys {
		k.pairInfo(c)
	}
	return nil
}

// pairInfo writes the line from which references are made. GnuPG 2.2 reads the
// first two fields, later versions also usage, creation time and algorithm.
func (k *cardKey) pairInfo(c *assuan.Call) {
	created := "-"
	if seconds := k.Created.Unix(); seconds > 0 {
		created = strconv.FormatInt(seconds, 10)
	}
	c.Status("KEYPAIRINFO", k.Keygrip, k.keyref(), usage, created, k.algorithm)
}

// keyInfo says whether keys are on the card; gpg 2.3 and later ask before each
// signature.
func (s *Session) keyInfo(_ context.Context, c *assuan.Call) error {
	keys, err := s.card.list.get()
	if want, all := c.Option("list"); all {
		if want == "" || want == "sign" {
			for _, k := range keys {
				info(c, k.Keygrip)
			}
		}
		return nil
	}
	if k := find(keys, c.Word(0)); k != nil {
		info(c, k.Keygrip)
		return nil
	}
	// Without the key list any key may be one of ours. An error would make gpg-agent ask for
	// another card; claiming it brings gpg to PKSIGN, which says what is wrong.
	if err != nil && isKeygrip(c.Word(0)) {
		info(c, strings.ToUpper(c.Word(0)))
		return nil
	}
	return assuan.NotFound
}

func info(c *assuan.Call, keygrip string) {
	fields := []string{keygrip, "T", SerialNumber, keygrip, usage}
	if _, data := c.Option("data"); data {
		c.Data([]byte(strings.Join(fields, " ") + "\n"))
		return
	}
	c.Status("KEYINFO", fields...)
}

func isKeygrip(id string) bool {
	octets, err := hex.DecodeString(id)
	return err == nil && len(octets) == 20
}

// readKey gives a public key as a canonical S-expression.
func (s *Session) readKey(_ context.Context, c *assuan.Call) error {
	keys, _ := s.card.list.get()
	k := find(keys, c.Word(0))
	if k == nil {
		return assuan.NoSecretKey
	}
	_, both := c.Option("info")
	_, only := c.Option("info-only")
	if both || only {
		k.pairInfo(c)
	}
	if !only {
		c.Data(k.canonical)
	}
	return nil
}
