package card

import (
	"strings"
	"testing"

	"signkit/gpgagent/assuan"
)

// Whatever gpg-agent says, no command has a defect, and what must never fail
// does not.
func FuzzCommands(f *testing.F) {
	for _, command := range commands() {
		f.Add(command.Help + "\n")
	}
	grip := strings.Repeat("AB", 20)
	for _, seed := range []string{
		"SERIALNO --demand=D276000124010304FF7F000000020000\nSERIALNO --all\n",
		"KEYINFO --list\nKEYINFO --data " + grip + "\nLEARN --force\n",
		"SETDATA 3031300D060960864801650304020105000420" + strings.Repeat("00", 32) + "\nPKSIGN --hash=sha256 " + grip + "\n",
		"SETDATA --append 00\nSETDATA --append 11\nRESTART\nGETINFO cmd_has_option X\n",
		"READKEY  --no-data -- X\nGETATTR $SIGNKEYID\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		b := newBench(t, "p256")
		// A keygrip that fuzzing can find stands for that of the key.
		input = strings.ReplaceAll(input, grip, testEntry(t, "p256").Keygrip)
		var out strings.Builder
		err := b.server.Serve(t.Context(), strings.NewReader(input+"\nSERIALNO --all\n"), &out)
		if err != nil && err != assuan.ErrStop {
			t.Fatal(err)
		}
		if log := b.log.String(); strings.Contains(log, "internal error") {
			t.Fatalf("%q: %s", input, log)
		}
		left := strings.Contains(out.String(), "OK closing") || strings.Contains(strings.ToUpper(input), "KILLSCD")
		if !left && !strings.HasSuffix(out.String(), "S SERIALNO "+SerialNumber+"\nOK\n") {
			t.Fatalf("%q: the card is gone: %q", input, out.String())
		}
	})
}
