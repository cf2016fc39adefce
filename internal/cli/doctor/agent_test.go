package doctor

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signkit/internal/gnupgtest"
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
			socket := socketOf(t, home)
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

// TestWithAndWithoutRunUser: gpg looks for the socket in the folder that the user has in /run/user, if there is one.
func TestWithAndWithoutRunUser(t *testing.T) {
	gnupgtest.InRunUser(t, "^Test(Agent|GNUPGHOME)")
}

func TestMain(m *testing.M) { os.Exit(gnupgtest.M{M: m}.Run()) }

// socketOf is where gpg looks for the agent of a home. What gpgconf makes for it goes with the test.
func socketOf(t *testing.T, home string) string {
	t.Helper()
	gpgconf := func(argument string) []byte {
		out, err := exec.Command("gpgconf", append([]string{"--homedir", home}, strings.Fields(argument)...)...).Output()
		if err != nil {
			t.Skipf("no gpgconf here (package gpgconf): %v", err)
		}
		return out
	}
	t.Cleanup(func() { gpgconf("--remove-socketdir") })
	return strings.TrimSpace(string(gpgconf("--list-dirs agent-socket")))
}

// TestGNUPGHOMEWithoutAgentIsFine: gpg starts one.
func TestGNUPGHOMEWithoutAgentIsFine(t *testing.T) {
	home, err := os.MkdirTemp("", "agent-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	socketOf(t, home)
	e, found := recorded(Patient{Environ: []string{"GNUPGHOME=" + home}})
	e.gnupgHome(t.Context())
	if got := one(t, *found); got.State != OK {
		t.Errorf("found %+v", got)
	}
}

// TestKeyboxdThatIsNotInstalledIsNamed: gpg as the system configures it may need a program that is a package of its own.
func TestKeyboxdThatIsNotInstalledIsNamed(t *testing.T) {
	for program, want := range map[string]int{"/nowhere/keyboxd": 1, "/bin/sh": 0} {
		dir := t.TempDir()
		script := "#!/bin/sh\ncase $* in\n*--list-options*) echo use_keyboxd:144:3::2:2::1:: ;;\n*--list-components*) echo keyboxd:Public Keys:" + program + " ;;\nesac\n"
		if err := os.WriteFile(filepath.Join(dir, "gpgconf"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir+":/usr/bin:/bin")
		e, found := recorded(Patient{})
		e.keyboxd(t.Context())
		if len(*found) != want || want == 1 && (!strings.Contains((*found)[0].Text, program) || (*found)[0].State != Problem || (*found)[0].Fix == "") {
			t.Errorf("%s: found %+v", program, *found)
		}
	}
}
