package home

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"signkit/gpgagent/assuan"
	"signkit/gpgagent/card"
	"signkit/gpgagent/keyfile"
	"signkit/internal/gnupgtest"
)

// TestMain lets this program be the bridge that gpg-agent starts, and an agent that does not answer.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "--multi-server" {
		bridge()
		return
	}
	if filepath.Base(os.Args[0]) == "gpg-agent" {
		if err := silentAgent(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(gnupgtest.M{M: m}.Run())
}

// TestWithAndWithoutRunUser: gpg-agent puts its sockets into the folder that the user has in /run/user, if there is one.
func TestWithAndWithoutRunUser(t *testing.T) {
	requireGPG(t)
	gnupgtest.InRunUser(t, "^Test(SetUp|AFailed|AnExisting|ARunning)")
}

// bridge answers what a set-up asks; it never signs. BRIDGE_FAILS makes it end at once. Without a
// socket a client would be told that there is no bridge while gpg-agent still has it for another.
func bridge() {
	if os.Getenv("BRIDGE_FAILS") != "" {
		return
	}
	socket, err := assuan.Listen(os.Args[len(os.Args)-1], os.TempDir())
	if err != nil {
		return
	}
	defer socket.Close()
	command := func(name string, run func(*assuan.Call) error) assuan.Command[any] {
		return assuan.Command[any]{Name: name, Run: func(_ any, _ context.Context, c *assuan.Call) error { return run(c) }}
	}
	ok := func(*assuan.Call) error { return nil }
	server := &assuan.Server[any]{
		Greeting: "test bridge", Session: func() any { return nil }, Log: slog.New(slog.DiscardHandler),
		Commands: []assuan.Command[any]{
			command("GETINFO", func(c *assuan.Call) error {
				c.Data([]byte(map[string]string{"version": "9.9.9", "socket_name": socket.Path()}[c.Word(0)]))
				return nil
			}),
			command("SERIALNO", func(c *assuan.Call) error {
				c.Status("SERIALNO", card.SerialNumber)
				return nil
			}),
			command("KEYINFO", ok), command("OPTION", ok), command("RESTART", ok),
			command("BYE", func(*assuan.Call) error { return assuan.ErrBye }),
		},
	}
	go func() { _ = server.ServeSocket(context.Background(), socket) }()
	_ = server.Serve(context.Background(), os.Stdin, os.Stdout)
}

// status is ask for commands that answer with S lines.
func (h *Home) status(ctx context.Context, command string) (string, error) {
	socket, err := h.AgentSocket(ctx)
	if err != nil {
		return "", err
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	fmt.Fprintf(conn, "%s\nBYE\n", command)
	var all bytes.Buffer
	_, err = all.ReadFrom(conn)
	return all.String(), err
}

// newKey makes a key with its OpenPGP public key, as if it were remote.
func newKey(t *testing.T, policy string) Key {
	t.Helper()
	e, err := openpgp.NewEntity("Test", "", policy+"@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP256,
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	public := e.PrimaryKey.PublicKey
	ec, ok := public.(interface{ MarshalPoint() []byte })
	if !ok {
		t.Fatalf("a key of type %T", public)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), ec.MarshalPoint())
	if err != nil {
		t.Fatal(err)
	}
	entry := entryFor(t, key, policy)
	entry.Fingerprint = fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)
	entry.Created = e.PrimaryKey.CreationTime
	return Key{Entry: entry, Public: b.Bytes()}
}

func options(t *testing.T, keys ...Key) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Bridge: self, Environ: os.Environ(), Keys: keys}
}

func TestSetUpMakesGPGListTheKeys(t *testing.T) {
	requireGPG(t)
	h := newHome(t)
	one, two := newKey(t, "one"), newKey(t, "two")
	result, err := h.SetUp(t.Context(), options(t, one, two))
	if err != nil {
		t.Fatal(err)
	}
	if result.AgentPID == "" || result.Displaced != "" {
		t.Errorf("%+v", result)
	}
	keys, err := h.Keys()
	if err != nil || len(keys) != 2 || keys[1].Fingerprint != two.Entry.Fingerprint {
		t.Errorf("%v %v", keys, err)
	}
	version, err := h.BridgeVersion(t.Context())
	if err != nil || version != "9.9.9" {
		t.Errorf("the bridge answers %q %v", version, err)
	}
	// Once more, as a second shell would: nothing gets in its way.
	if _, err := h.SetUp(t.Context(), options(t, one)); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestAFailedSetUpLeavesNothingBehind(t *testing.T) {
	requireGPG(t)
	key := newKey(t, "one")
	broken := newKey(t, "two")
	broken.Public = []byte("nonsense")
	other := key
	other.Entry.SignPath = &keyfile.SignPath{Project: "demo", Policy: "other"}
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"bridge that is not there":      {func(o *Options) { o.Bridge = "/no/such/program" }, "/no/such/program"},
		"bridge that ends at once":      {func(o *Options) { o.Environ = append(o.Environ, "BRIDGE_FAILS=1") }, "cannot reach the bridge"},
		"second key without public key": {func(o *Options) { o.Keys = append(o.Keys, broken) }, "importing the public key of demo/two"},
		"two policies with one key":     {func(o *Options) { o.Keys = append(o.Keys, other) }, "demo/one"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			o := options(t, key)
			c.change(&o)
			if _, err := h.SetUp(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(h.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder: %v", err)
			}
			wantNoProcess(t, h)
		})
	}
}

// wantNoProcess looks for agents and bridges by their environment, which has the token. What was told to end may take a moment.
func wantNoProcess(t *testing.T, h *Home) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(endPoll) {
		left := slices.DeleteFunc(gnupgtest.Processes(h.Dir), func(line string) bool {
			return !h.Temporary && strings.HasPrefix(line, "keyboxd ") // whose home it is
		})
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still running: %q", left)
		}
	}
}

// gpgProgram puts a script into PATH, in the place of one of GnuPG's programs.
func gpgProgram(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func realProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// An agent that runs and cannot be reached is not left behind with the token.
func TestAFailedSetUpLeavesNoAgentThatDoesNotAnswer(t *testing.T) {
	requireGPG(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "gpg-agent")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for name, setting := range map[string]string{"silent": "AGENT_LISTENS=1", "without a socket": "AGENT_LISTENS="} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			o := options(t, newKey(t, "one"))
			o.Environ = append(o.Environ, setting)
			if _, err := h.SetUp(ctx, o); err == nil {
				t.Error("no error")
			}
			wantNoProcess(t, h)
			if _, err := os.Stat(h.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder: %v", err)
			}
		})
	}
}

// silentAgent is a gpg-agent that leaves a process behind which never answers, if it listens at all, and does not end by itself.
func silentAgent() error {
	signal.Ignore(syscall.SIGTERM)
	if os.Getenv("AGENT_IS_CHILD") != "" {
		time.Sleep(10 * time.Minute)
		return nil
	}
	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Args[0] = "gpg-agent"
	child.Env = append(os.Environ(), "AGENT_IS_CHILD=1")
	if os.Getenv("AGENT_LISTENS") != "" {
		h := &Home{Dir: os.Args[2]}
		socket, err := h.AgentSocket(context.Background())
		if err != nil {
			return err
		}
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
		if err != nil {
			return err
		}
		file, err := listener.File()
		if err != nil {
			return err
		}
		child.ExtraFiles = []*os.File{file}
	}
	return child.Start()
}

// gpg looks elsewhere for the agent from the moment on at which /run/user has a folder for the user.
func TestARunningAgentIsEndedWhereGPGDoesNotLookAnyMore(t *testing.T) {
	requireGPG(t)
	h := newHome(t)
	if _, err := h.SetUp(t.Context(), options(t, newKey(t, "one"))); err != nil {
		t.Fatal(err)
	}
	gpgProgram(t, "gpgconf", `case $* in *--list-dirs*) echo agent-socket:/nowhere/S.gpg-agent ;; *) exec `+realProgram(t, "gpgconf")+` "$@" ;; esac
`)
	if _, err := h.AgentPID(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("where gpg looks: %v", err)
	}
	if err := h.End(t.Context()); err != nil {
		t.Error(err)
	}
	wantNoProcess(t, h)
}

// The agent alone keeps the token: what gpg starts by itself stays where the agent is told to end.
func TestSetUpRunsGPGWithoutCredentials(t *testing.T) {
	requireGPG(t)
	seen := filepath.Join(t.TempDir(), "seen")
	gpgProgram(t, "gpg", "env >>'"+seen+"'; exec "+realProgram(t, "gpg")+` "$@"
`)
	h := newHome(t)
	o := options(t, newKey(t, "one"))
	o.Environ = append(o.Environ, "SIGNPATH_API_TOKEN=canary", "SIGNKIT_CA_FILE=/canary")
	if _, err := h.SetUp(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(seen)
	if err != nil || len(text) == 0 || bytes.Contains(text, []byte("canary")) {
		t.Errorf("gpg ran with %s, %v", text, err)
	}
}

// withKeyboxd makes gpgconf say what it says where the system's common.conf has use-keyboxd. The program is another.
func withKeyboxd(t *testing.T, inForce, program string) {
	t.Helper()
	gpgProgram(t, "gpgconf", `case $* in
*--list-options*) echo 'use_keyboxd:144:3::2:2::`+inForce+`::' ;;
*--list-components*) echo 'keyboxd:Public Keys:`+program+`' ;;
*) exec `+realProgram(t, "gpgconf")+` "$@" ;;
esac
`)
}

func TestAKeyboxdThatIsNotInstalledIsNamed(t *testing.T) {
	requireGPG(t)
	for name, c := range map[string]struct {
		inForce, program string
		missing          bool
	}{
		"missing":     {"1", "/nowhere/keyboxd", true},
		"there":       {"1", "/bin/sh", false},
		"not used":    {"0", "/nowhere/keyboxd", false},
		"not told of": {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			withKeyboxd(t, c.inForce, c.program)
			gpgProgram(t, "gpg", "echo 'gpg: error opening key DB: No Keybox daemon running' >&2; exit 2\n")
			_, err := newHome(t).SetUp(t.Context(), options(t, newKey(t, "one")))
			var keyboxd *KeyboxdError
			if errors.As(err, &keyboxd) != c.missing || !c.missing && !strings.Contains(fmt.Sprint(err), "No Keybox daemon running") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAFailedSetUpPutsAnExistingHomeBack(t *testing.T) {
	requireGPG(t)
	h, err := Open(filepath.Join(shortDir(t), "home"))
	if err != nil {
		t.Fatal(err)
	}
	conf := h.file(agentConfiguration)
	if err := os.WriteFile(conf, []byte("default-cache-ttl 7\nscdaemon-program /usr/bin/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := newKey(t, "one")
	o := options(t, key)
	o.Environ = append(o.Environ, "BRIDGE_FAILS=1")
	if _, err := h.SetUp(t.Context(), o); err == nil {
		t.Fatal("no error")
	}
	if text, _ := os.ReadFile(conf); string(text) != "default-cache-ttl 7\nscdaemon-program /usr/bin/other\n" {
		t.Errorf("%s is now %q", agentConfiguration, text)
	}
	for _, path := range []string{h.StubFile(key.Entry.Keygrip), h.file(keyfile.Name)} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := h.AgentPID(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("its agent: %v", err)
	}
	wantNoProcess(t, h)
	endLater(t, h)
}

func TestAnExistingHomeKeepsItsKeysAndSettings(t *testing.T) {
	requireGPG(t)
	h, err := Open(filepath.Join(shortDir(t), "home"))
	if err != nil {
		t.Fatal(err)
	}
	endLater(t, h)
	if _, err := h.run(t.Context(), os.Environ(), nil, "gpg", "--batch", "--passphrase", "", "--quick-gen-key", "Local <local@example.com>", "ed25519", "sign", "never"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.file(agentConfiguration), []byte("scdaemon-program /usr/bin/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := h.SetUp(t.Context(), options(t, newKey(t, "one")))
	if err != nil || result.Displaced != "/usr/bin/other" {
		t.Fatalf("%+v %v", result, err)
	}
	if _, err := h.run(t.Context(), os.Environ(), []byte("x"), "gpg", "--batch", "-u", "local@example.com", "--detach-sign"); err != nil {
		t.Errorf("the key that was there does not sign any more: %v", err)
	}
	if err := h.End(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(h.Dir); err != nil {
		t.Errorf("the folder: %v", err)
	}
}

func TestARealPrivateKeyIsNeverReplaced(t *testing.T) {
	requireGPG(t)
	h, err := Open(filepath.Join(shortDir(t), "home"))
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t, "one")
	path := h.StubFile(key.Entry.Keygrip)
	content := []byte("Key: (private-key (ecc))\n")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
		t.Fatal(err)
	}
	var real *RealKeyError
	if _, err := h.SetUp(t.Context(), options(t, key)); !errors.As(err, &real) {
		t.Errorf("got %v", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, content) {
		t.Errorf("now %q", now)
	}
	if _, err := os.Stat(h.file(keyfile.Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the list of keys: %v", err)
	}
}

// A private key that comes while the agent is being started is not taken away when that fails.
func TestAFailedSetUpLeavesAPrivateKeyThatCameMeanwhile(t *testing.T) {
	content := []byte("Key: (private-key (ecc))\n")
	for _, c := range []struct {
		name        string
		before, now []byte
		want        []byte
	}{
		{"none before", nil, content, content},
		{"a reference before", []byte("Key: (shadowed-private-key (ecc))\n"), content, content},
		{"our reference, none before", nil, []byte("Key: (shadowed-private-key (rsa))\n"), nil},
		{"our reference, another before", []byte("Key: (shadowed-private-key (ecc))\n"), []byte("Key: (shadowed-private-key (rsa))\n"),
			[]byte("Key: (shadowed-private-key (ecc))\n")},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "grip.key")
			write := func(data []byte) {
				if data != nil {
					if err := os.WriteFile(path, data, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			write(c.before)
			var done undo
			done.keepReference(path)
			write(c.now)
			done.all()
			if got, err := os.ReadFile(path); !bytes.Equal(got, c.want) || (err == nil) != (c.want != nil) {
				t.Errorf("now %q, %v", got, err)
			}
		})
	}
}

func TestTheAgentsConfigurationKeepsOtherLines(t *testing.T) {
	for _, c := range []struct{ old, want, displaced string }{
		{"", "scdaemon-program /b\n", ""},
		{"scdaemon-program /b\n", "scdaemon-program /b\n", ""},
		{"a 1\n# c", "a 1\n# c\nscdaemon-program /b\n", ""},
		{"  scdaemon-program  /x y\nz\n", "# signkit gpg init:   scdaemon-program  /x y\nz\nscdaemon-program /b\n", "/x y"},
		{"disable-scdaemon\n", "# signkit gpg init: disable-scdaemon\nscdaemon-program /b\n", ""},
	} {
		if got := string(withBridge([]byte(c.old), "/b")); got != c.want {
			t.Errorf("%q became %q", c.old, got)
		}
		if got := otherProgram([]byte(c.old), "/b"); got != c.displaced {
			t.Errorf("%q displaced %q", c.old, got)
		}
	}
}

// TestAHomeIsSetUpWhereAnotherProgramMakesTheSocketsFolder: gpgconf, asked in that moment, names a place in the home, and another one
// from then on.
func TestAHomeIsSetUpWhereAnotherProgramMakesTheSocketsFolder(t *testing.T) {
	requireGPG(t)
	h, asked := newHome(t), filepath.Join(t.TempDir(), "asked")
	gpgProgram(t, "gpgconf", fmt.Sprintf("case \"$*\" in *--list-dirs*) [ -e %s ] || { >%s; echo agent-socket:%s/S.elsewhere; exit; } ;; esac\nexec %s \"$@\"\n",
		asked, asked, h.Dir, realProgram(t, "gpgconf")))
	if _, err := h.SetUp(t.Context(), options(t, newKey(t, "one"))); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(asked); err != nil {
		t.Error("gpgconf was not asked")
	}
}
