package card

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"signkit/gpgagent/keyfile"
	"signkit/internal/version"
)

// Answers that depend on nothing but the line; {p256} is a keygrip.
func TestAnswers(t *testing.T) {
	const sn = SerialNumber
	other := "D276000124010304FF7F000000020000"
	for line, want := range map[string]string{
		"SERIALNO":                   "S SERIALNO " + sn + "\nOK",
		"SERIALNO --all openpgp":     "S SERIALNO " + sn + "\nOK",
		"SERIALNO --demand=" + other: "S SERIALNO " + other + "\nOK",
		"SERIALNO --demand=ff7F":     "S SERIALNO ff7F\nOK",
		"SERIALNO --demand=zz":       "S SERIALNO " + sn + "\nOK",
		"SERIALNO --demand=":         "S SERIALNO " + sn + "\nOK",
		"SERIALNO --demand=00%0AOK":  "S SERIALNO " + sn + "\nOK",
		"serialno --ALL":             "S SERIALNO " + sn + "\nOK",
		"LEARN --keypairinfo": "S KEYPAIRINFO {rsa3072} {rsa3072} sc - rsa3072\n" +
			"S KEYPAIRINFO {p256} {p256} sc - nistp256\nOK",
		"KEYINFO --list=sign": "S KEYINFO {rsa3072} T " + sn + " {rsa3072} sc\n" +
			"S KEYINFO {p256} T " + sn + " {p256} sc\nOK",
		"KEYINFO --list=encr":                   "OK",
		"KEYINFO --list=auth":                   "OK",
		"KEYINFO --data {p256}":                 "D {p256} T " + sn + " {p256} sc%0A\nOK",
		"KEYINFO " + strings.Repeat("0", 40):    "ERR 100663323 Not found <SCD>",
		"KEYINFO":                               "ERR 100663323 Not found <SCD>",
		"READKEY --info-only -- {p256}":         "S KEYPAIRINFO {p256} {p256} sc - nistp256\nOK",
		"READKEY SIGNKIT.7":                     "ERR 100663313 No secret key <SCD>",
		"READKEY":                               "ERR 100663313 No secret key <SCD>",
		"GETATTR KEY-FPR":                       "OK",
		"GETATTR $SIGNKEYID":                    "S $SIGNKEYID {rsa3072}\nOK",
		"GETATTR $DISPSERIALNO {p256}":          "S $DISPSERIALNO signkit\nOK",
		"GETATTR APPTYPE":                       "S APPTYPE openpgp\nOK",
		"GETATTR CHV-STATUS":                    "ERR 100663323 Not found <SCD>",
		"GETINFO version":                       "D 9.9.9\nOK",
		"GETINFO signkit_version":               "D " + version.Version + "\nOK",
		"GETINFO socket_name":                   "D " + testSocket + "\nOK",
		"GETINFO pid":                           "D " + strconv.Itoa(os.Getpid()) + "\nOK",
		"GETINFO status":                        "D u\nOK",
		"GETINFO card_list":                     "S SERIALNO " + sn + "\nOK",
		"GETINFO deny_admin":                    "OK",
		"GETINFO app_list":                      "D openpgp%0A\nOK",
		"GETINFO active_apps":                   "S SERIALNO " + sn + " openpgp\nOK",
		"GETINFO all_active_apps":               "S SERIALNO " + sn + " openpgp\nOK",
		"GETINFO cmd_has_option READKEY info":   "OK",
		"GETINFO cmd_has_option keyinfo list":   "OK",
		"GETINFO cmd_has_option READKEY inf":    "ERR 100663297 General error <SCD>",
		"GETINFO cmd_has_option SERIALNO other": "ERR 100663297 General error <SCD>",
		"GETINFO cmd_has_option":                "ERR 100663297 General error <SCD>",
		"GETINFO reader_list":                   "ERR 100663576 IPC parameter error <SCD>",
		"SETDATA":                               "ERR 100663576 IPC parameter error <SCD>",
		"SETDATA 0":                             "ERR 100663576 IPC parameter error <SCD>",
		"SETDATA 0g":                            "ERR 100663576 IPC parameter error <SCD>",
		"SETDATA 00 11":                         "ERR 100663576 IPC parameter error <SCD>",
		"SETDATA 00":                            "OK",
		"SETDATA --append 00":                   "OK",
		"PKSIGN":                                "ERR 100663576 IPC parameter error <SCD>",
		"PKSIGN --hash=sha256 {p256}":           "ERR 100663354 No data <SCD>",
		"PKSIGN " + strings.Repeat("0", 40):     "ERR 100663313 No secret key <SCD>",
		"RESTART":                               "OK",
		"RESET --keep-lock":                     "OK",
		"NOP":                                   "OK",
		"OPTION event-signal=12":                "OK",
		"OPTION display=:0 --x":                 "OK",
		"DISCONNECT":                            "OK",
		"LOCK --wait":                           "OK",
		"UNLOCK":                                "OK",
		"CHECKPIN " + sn:                        "OK",
		"SWITCHCARD " + sn:                      "OK",
		"SWITCHAPP openpgp":                     "OK",
		"DEVINFO --watch":                       "ERR 100663571 Unknown IPC command <SCD>",
		"READCERT X":                            "ERR 100663323 Not found <SCD>",
		"PKDECRYPT {p256}":                      "ERR 100663356 Not supported <SCD>",
		"PKAUTH {p256}":                         "ERR 100663356 Not supported <SCD>",
		"SETATTR X":                             "ERR 100663356 Not supported <SCD>",
		"WRITEKEY X":                            "ERR 100663356 Not supported <SCD>",
		"WRITECERT X":                           "ERR 100663356 Not supported <SCD>",
		"GENKEY 1":                              "ERR 100663356 Not supported <SCD>",
		"PASSWD 1":                              "ERR 100663356 Not supported <SCD>",
		"RANDOM 10":                             "ERR 100663356 Not supported <SCD>",
		"APDU 00":                               "ERR 100663356 Not supported <SCD>",
		"BYE":                                   "OK closing connection",
		"KILLSCD":                               "OK",
		"killscd":                               "OK",
	} {
		for _, name := range testKeyNames {
			line = strings.ReplaceAll(line, "{"+name+"}", testEntry(t, name).Keygrip)
			want = strings.ReplaceAll(want, "{"+name+"}", testEntry(t, name).Keygrip)
		}
		c := newBench(t, "rsa3072", "p256").dial()
		if got := c.ask(t, line); got != want {
			t.Errorf("%s\nanswers %q\nwant    %q", line, got, want)
		}
		c.close(t)
	}
}

func TestHelpListsEveryCommand(t *testing.T) {
	help := newBench(t).dial().ask(t, "HELP")
	for _, command := range commands() {
		word, _, _ := strings.Cut(command.Help, ":")
		if word, _, _ = strings.Cut(word, " "); word != command.Name || !strings.Contains(help, "# "+command.Help+"\n") {
			t.Errorf("%s: help %q in %q", command.Name, command.Help, help)
		}
	}
}

// What must never fail does not, with whatever key list; an error here would
// make gpg-agent ask for a card.
func TestNothingFailsWithoutAKeyList(t *testing.T) {
	grip := strings.Repeat("AB", 20)
	for name, text := range map[string]string{"missing": "", "broken": "{", "empty": `{"keys":[]}`} {
		b := newBench(t)
		if text != "" {
			if err := os.WriteFile(b.path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := b.dial()
		answers := map[string]string{
			"SERIALNO --all":        "S SERIALNO " + SerialNumber + "\nOK",
			"KEYINFO --list":        "OK",
			"LEARN --force":         "S READER signkit\nS SERIALNO " + SerialNumber + "\nS APPTYPE openpgp\nS DISP-NAME signkit\nOK",
			"LEARN --keypairinfo":   "OK",
			"GETATTR KEY-FPR":       "OK",
			"GETATTR $DISPSERIALNO": "S $DISPSERIALNO signkit\nOK",
			"GETATTR $SIGNKEYID":    "ERR 100663323 Not found <SCD>",
			// So that gpg goes on to PKSIGN, which says "Configuration error".
			"KEYINFO " + strings.ToLower(grip): "S KEYINFO " + grip + " T " + SerialNumber + " " + grip + " sc\nOK",
			"PKSIGN --hash=sha256 " + grip:     "ERR 100663411 Configuration error <SCD>",
		}
		if name == "empty" {
			delete(answers, "KEYINFO "+strings.ToLower(grip))
			answers["PKSIGN --hash=sha256 "+grip] = "ERR 100663313 No secret key <SCD>"
			answers["KEYINFO "+grip] = "ERR 100663323 Not found <SCD>"
		}
		for line, want := range answers {
			if got := c.ask(t, line); got != want {
				t.Errorf("%s key list: %s answers %q, want %q", name, line, got, want)
			}
		}
		if log := b.log.String(); name != "empty" && strings.Count(log, "the key list cannot be used") != 1 {
			t.Errorf("%s key list: want one record in\n%s", name, log)
		}
	}
}

func TestKeysThatAreAddedLaterAppear(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	grip := testEntry(t, "p256").Keygrip
	if got := c.ask(t, "KEYINFO --list"); got != "OK" {
		t.Fatalf("answers %q", got)
	}
	b.add("p256")
	if got, want := c.ask(t, "KEYINFO --list"), "S KEYINFO "+grip+" T "+SerialNumber+" "+grip+" sc\nOK"; got != want {
		t.Errorf("answers %q, want %q", got, want)
	}
	b.add("p384")
	if got := c.ask(t, "LEARN --keypairinfo"); strings.Count(got, "KEYPAIRINFO") != 2 {
		t.Errorf("answers %q, want two keys", got)
	}
	if err := os.Remove(b.path); err != nil {
		t.Fatal(err)
	}
	if got := c.ask(t, "KEYINFO --list"); got != "OK" {
		t.Errorf("answers %q after the list is gone", got)
	}
}

func TestKeyPairInfoTellsTheCreationTime(t *testing.T) {
	b := newBench(t)
	e := testEntry(t, "p384")
	e.Created = time.Unix(1700000000, 0)
	if err := keyfile.Add(b.path, e); err != nil {
		t.Fatal(err)
	}
	want := "S KEYPAIRINFO " + e.Keygrip + " " + e.Keygrip + " sc 1700000000 nistp384\nOK"
	if got := b.dial().ask(t, "LEARN --keypairinfo"); got != want {
		t.Errorf("answers %q, want %q", got, want)
	}
}

func TestKeysAreFoundByAnySpelling(t *testing.T) {
	b := newBench(t, "p256")
	c := b.dial()
	e := testEntry(t, "p256")
	for _, id := range []string{e.Keygrip, strings.ToLower(e.Keygrip), e.Fingerprint, strings.ToLower(e.Fingerprint)} {
		if got := c.ask(t, "READKEY --info-only -- "+id); !strings.HasPrefix(got, "S KEYPAIRINFO "+e.Keygrip) {
			t.Errorf("READKEY %s answers %q", id, got)
		}
	}
}

func TestWithoutASocketTheNameIsAnError(t *testing.T) {
	b := newBench(t)
	b.server.Session = New(Options{KeyList: b.path, Open: b.open, Log: b.server.Log}).Session
	if got := b.dial().ask(t, "GETINFO socket_name"); !strings.HasPrefix(got, "ERR 100663323 ") {
		t.Errorf("answers %q", got)
	}
}
