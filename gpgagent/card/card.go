// Package card shows the keys of one GNUPGHOME to gpg-agent as one smart card.
// It is the meaning behind the lines: package assuan brings them.
//
// Everything but PKSIGN is answered at once, from the key list on disk, and
// never fails: gpg-agent takes an error for a missing card and asks a person
// to insert it. Trouble with a key is therefore reported by PKSIGN alone.
package card

import (
	"context"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"signkit/gpgagent/assuan"
	"signkit/gpgagent/keyfile"
	"signkit/internal/event"
	"signkit/internal/key"
)

// SerialNumber is what the card calls itself: an OpenPGP application id (OpenPGP
// card 3.4, section 4.2.1), since GnuPG shows no other kind as well. It names
// nothing; the keys are found by their keygrips.
const SerialNumber = "D2760001240103045369676E4B690000"

// bound ends a signature that neither succeeds nor fails: longer than all
// retries take by default. gpg-agent itself would wait for ever.
const bound = 20 * time.Minute

// Opener makes the signer of an entry of the key list, within the time that the
// context gives it. It is called when the key signs first, and again only after
// it failed or the entry changed.
type Opener func(context.Context, keyfile.Entry) (key.Signer, error)

// Options are what a Card is made of.
type Options struct {
	KeyList string // path of the key list; it need not exist
	Open    Opener
	Socket  string        // where further connections go; "" where there is none
	Bound   time.Duration // of one signature; 0 is 20 minutes
	Log     *slog.Logger
	Record  event.Recorder // gets failures that a key's signer has not recorded; nil: nobody does
}

// Card is the state that all connections share.
type Card struct {
	open   Opener
	socket string
	bound  time.Duration
	log    *slog.Logger
	record event.Recorder
	list   list

	mu      sync.Mutex
	signers map[string]*opened // by keygrip
}

// New makes a card. It reads nothing yet.
func New(o Options) *Card {
	if o.Bound <= 0 {
		o.Bound = bound
	}
	return &Card{open: o.Open, socket: o.Socket, bound: o.Bound, log: o.Log, record: o.Record,
		list: list{path: o.KeyList, log: o.Log}, signers: map[string]*opened{}}
}

// Session is the state of one connection.
type Session struct {
	card *Card
	data []byte // what SETDATA gave
}

// Session makes the state of a new connection.
func (c *Card) Session() *Session { return &Session{card: c} }

// Commands is the command table, for assuan.Server.
func (c *Card) Commands() []assuan.Command[*Session] { return commands() }

func commands() []assuan.Command[*Session] {
	return []assuan.Command[*Session]{
		{Name: "SERIALNO", Run: (*Session).serialNo, Help: "SERIALNO [--demand=HEX] [--all] [APP]: the serial number"},
		{Name: "LEARN", Run: (*Session).learn, Help: "LEARN [--force] [--keypairinfo] [--demand=HEX]: the card and its keys"},
		{Name: "KEYINFO", Run: (*Session).keyInfo, Help: "KEYINFO [--list[=sign|encr|auth]] [--data] [KEYGRIP]: keys and their usage"},
		{Name: "READKEY", Run: (*Session).readKey,
			Help: "READKEY [--advanced] [--info|--info-only] [--no-data] [--] KEYGRIP: a public key"},
		{Name: "GETATTR", Run: (*Session).getAttr, Help: "GETATTR NAME [KEYGRIP]: an attribute of the card"},
		{Name: "GETINFO", Run: (*Session).getInfo, Help: "GETINFO WHAT: something about this program"},
		{Name: "SETDATA", Run: (*Session).setData, Help: "SETDATA [--append] HEX: what PKSIGN is to sign"},
		{Name: "PKSIGN", Run: (*Session).pkSign, Help: "PKSIGN [--hash=NAME] KEYGRIP: sign what SETDATA gave"},
		{Name: "RESTART", Run: (*Session).reset, Help: "RESTART: forget what SETDATA gave"},
		{Name: "RESET", Run: (*Session).reset, Help: "RESET [--keep-lock]: forget what SETDATA gave"},
		{Name: "KILLSCD", Run: stop, Help: "KILLSCD: end this program"},
		{Name: "BYE", Run: bye, Help: "BYE: end this connection"},
		{Name: "HELP", Run: (*Session).help, Help: "HELP: this list"},

		// There is nothing to lock, to insert or to unlock.
		{Name: "NOP", Run: accept, Help: "NOP: nothing"},
		{Name: "OPTION", Run: accept, Help: "OPTION NAME=VALUE: accepted and not used"},
		{Name: "DISCONNECT", Run: accept, Help: "DISCONNECT: accepted and not used"},
		{Name: "LOCK", Run: accept, Help: "LOCK [--wait]: accepted and not used"},
		{Name: "UNLOCK", Run: accept, Help: "UNLOCK: accepted and not used"},
		{Name: "CHECKPIN", Run: accept, Help: "CHECKPIN: accepted; there is no PIN"},
		{Name: "SWITCHCARD", Run: accept, Help: "SWITCHCARD: accepted; there is one card"},
		{Name: "SWITCHAPP", Run: accept, Help: "SWITCHAPP: accepted; there is one application"},

		// What a card of remote signing keys cannot do.
		{Name: "READCERT", Run: refuse(assuan.NotFound), Help: "READCERT: there are no certificates"},
		{Name: "PKAUTH", Run: refuse(assuan.NotSupported), Help: "PKAUTH: not supported"},
		{Name: "PKDECRYPT", Run: refuse(assuan.NotSupported), Help: "PKDECRYPT: not supported"},
		{Name: "SETATTR", Run: refuse(assuan.NotSupported), Help: "SETATTR: not supported"},
		{Name: "WRITEKEY", Run: refuse(assuan.NotSupported), Help: "WRITEKEY: not supported"},
		{Name: "WRITECERT", Run: refuse(assuan.NotSupported), Help: "WRITECERT: not supported"},
		{Name: "GENKEY", Run: refuse(assuan.NotSupported), Help: "GENKEY: not supported"},
		{Name: "PASSWD", Run: refuse(assuan.NotSupported), Help: "PASSWD: not supported"},
		{Name: "RANDOM", Run: refuse(assuan.NotSupported), Help: "RANDOM: not supported"},
		{Name: "APDU", Run: refuse(assuan.NotSupported), Help: "APDU: not supported"},
	}
}

func accept(*Session, context.Context, *assuan.Call) error { return nil }
func bye(*Session, context.Context, *assuan.Call) error    { return assuan.ErrBye }
func stop(*Session, context.Context, *assuan.Call) error   { return assuan.ErrStop }

func refuse(code assuan.Code) func(*Session, context.Context, *assuan.Call) error {
	return func(*Session, context.Context, *assuan.Call) error { return code }
}

func (s *Session) help(_ context.Context, c *assuan.Call) error {
	for _, command := range commands() {
		c.Comment(command.Help)
	}
	return nil
}

func (s *Session) reset(context.Context, *assuan.Call) error {
	s.data = nil
	return nil
}

// serial is the number of the card: the one that is asked for, where one is. So
// references to another card, made before this one took its place, stay good.
func serial(c *assuan.Call) string {
	demanded, _ := c.Option("demand")
	if octets, err := hex.DecodeString(demanded); err == nil && len(octets) > 0 && len(octets) <= 64 {
		return demanded
	}
	return SerialNumber
}

func (s *Session) serialNo(_ context.Context, c *assuan.Call) error {
	c.Status("SERIALNO", serial(c))
	return nil
}
