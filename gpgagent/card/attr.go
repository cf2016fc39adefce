package card

import (
	"context"
	"os"
	"strconv"
	"strings"

	"signkit/gpgagent/assuan"
	"signkit/internal/version"
)

// getAttr knows the attributes that gpg and gpg-agent cannot do without; for
// others "not found" is an answer they expect.
func (s *Session) getAttr(_ context.Context, c *assuan.Call) error {
	switch c.Word(0) {
	case "SERIALNO":
		c.Status("SERIALNO", SerialNumber)
	case "$DISPSERIALNO":
		// gpg-agent 2.4 and 2.5 crash without a value.
		c.Status("$DISPSERIALNO", "signkit")
	case "KEY-FPR":
		// Neither an error, with which gpg ends with status 2 after it has signed, nor a
		// fingerprint, which would make that key gpg's default.
	case "APPTYPE":
		c.Status("APPTYPE", "openpgp")
	case "DISP-NAME":
		c.Status("DISP-NAME", "signkit")
	case "$SIGNKEYID":
		keys, _ := s.card.list.get()
		if len(keys) == 0 {
			return assuan.NotFound
		}
		c.Status("$SIGNKEYID", keys[0].keyref())
	default:
		return assuan.NotFound
	}
	return nil
}

// getInfo tells about this program.
func (s *Session) getInfo(_ context.Context, c *assuan.Call) error {
	switch c.Word(0) {
	case "socket_name":
		if s.card.socket == "" {
			return assuan.NotFound
		}
		c.Data([]byte(s.card.socket))
	case "version":
		// gpg compares it with its own and warns when it is lower; it means nothing else.
		c.Data([]byte("9.9.9"))
	case "signkit_version":
		c.Data([]byte(version.Version))
	case "pid":
		c.Data([]byte(strconv.Itoa(os.Getpid())))
	case "status":
		c.Data([]byte("u")) // usable
	case "app_list":
		c.Data([]byte("openpgp\n"))
	case "card_list":
		c.Status("SERIALNO", SerialNumber)
	case "active_apps", "all_active_apps":
		c.Status("SERIALNO", SerialNumber, "openpgp")
	case "deny_admin":
	case "cmd_has_option":
		if !hasOption(c.Word(1), c.Word(2)) {
			return assuan.General
		}
	default:
		return assuan.Parameter
	}
	return nil
}

// hasOption looks into the help texts, as GnuPG's own card daemon does.
func hasOption(name, option string) bool {
	for _, command := range commands() {
		if !strings.EqualFold(command.Name, name) {
			continue
		}
		for _, word := range strings.FieldsFunc(command.Help, func(r rune) bool { return strings.ContainsRune(" []|=", r) }) {
			if word == "--"+option && option != "" {
				return true
			}
		}
	}
	return false
}
