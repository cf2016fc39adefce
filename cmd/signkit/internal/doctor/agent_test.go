package doctor

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgentThatDoesNotAnswerIsNamed: an agent that has ended leaves its socket behind, and something else may listen on it.
func TestAgentThatDoesNotAnswerIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		greeting string // "": nobody listens
		state    State
		text     string
	}{
		"answers": {"OK Pleased to meet you\n", OK, "answers"},
		"ended":   {"", Problem, "refused"},
		"foreign": {"220 mail.example.com ESMTP\n", Problem, "no greeting but"},
		"silent":  {"\x00", Problem, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			home, err := os.MkdirTemp("", "agent-") // shorter than t.TempDir: the path of a socket is bounded
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(home)
			socket := filepath.Join(home, "S.gpg-agent")
			listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
			if err != nil {
				t.Fatal(err)
			}
			if test.greeting == "" {
				listener.SetUnlinkOnClose(false)
				listener.Close()
			} else {
				defer listener.Close()
				go func() {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte(test.greeting))
					conn.Close()
				}()
			}
			e, found := recorded(Patient{Environ: []string{"GNUPGHOME=" + home}})
			e.gnupgHome(t.Context())
			if len(*found) != 2 {
				t.Fatalf("%d findings, want one of the folder and one of the agent: %+v", len(*found), *found)
			}
			got := (*found)[1]
			if got.Subject != "agent" || got.State != test.state || !strings.Contains(got.Text, test.text) || (got.Fix == "") != (test.state == OK) {
				t.Errorf("found %+v, want %s with %q", got, test.state, test.text)
			}
		})
	}
}

// TestGNUPGHOMEWithoutAgentIsFine: gpg starts one.
func TestGNUPGHOMEWithoutAgentIsFine(t *testing.T) {
	home, err := os.MkdirTemp("", "agent-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	e, found := recorded(Patient{Environ: []string{"GNUPGHOME=" + home}})
	e.gnupgHome(t.Context())
	if got := one(t, *found); got.State != OK {
		t.Errorf("found %+v", got)
	}
}
