package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signkit/gpgagent/keyfile"
	"signkit/internal/mockapi"
)

// hang starts a gpg whose signature the service does not answer, and returns
// once it has been asked.
func hang(t *testing.T, g *gnupg, s *mockapi.Server) (output string, end <-chan error) {
	t.Helper()
	s.ClearRequests()
	setFault(t, s, mockapi.Fault{Route: "sign", Kind: "hang"})
	file := g.file()
	cmd := g.command("gpg", "--batch", "-u", g.keys["p-256"].Fingerprint(), "-o", file+".sig", "--detach-sign", file)
	ends := make(chan error, 1)
	go func() { ends <- cmd.Run() }()
	waitRequests(t, s, 1)
	return file + ".sig", ends
}

// mustFail waits for gpg, which must say that it failed and leave nothing.
func mustFail(t *testing.T, output string, end <-chan error) {
	t.Helper()
	if err := <-end; err == nil {
		t.Error("gpg succeeded")
	}
	if _, err := os.Stat(output); err == nil {
		t.Error("gpg left a signature")
	}
}

// signAgain signs until it works: gpg-agent 2.2 looks only every four seconds
// whether its card daemon is still there. Each failure must be one, and leave
// nothing.
func signAgain(t *testing.T, g *gnupg) {
	t.Helper()
	verify := g.verifier()
	deadline := time.Now().Add(patience)
	for {
		file := g.file()
		cmd := g.command("gpg", "--batch", "-u", g.keys["p-256"].Fingerprint(), "-o", file+".sig", "--detach-sign", file)
		out, err := cmd.CombinedOutput()
		if err == nil {
			if err := verify("--verify", file+".sig", file); err != nil {
				t.Error(err)
			}
			return
		}
		if _, err := os.Stat(file + ".sig"); err == nil {
			t.Fatal("gpg failed and left a signature")
		}
		if time.Now().After(deadline) {
			t.Fatalf("gpg still fails: %v\n%s", err, out)
		}
		time.Sleep(200 * time.Millisecond) // between attempts, for nothing else
	}
}

func TestKilledAgent(t *testing.T) {
	t.Parallel()
	s := startService(t, 0)
	g := newGnuPG(t, s, []string{"p-256"})
	bridge, agent := g.bridgeProcess(), g.process(g.agent("GETINFO pid"))
	output, end := hang(t, g, s)
	agent.kill(t)
	mustFail(t, output, end)
	bridge.waitEnd(t) // although its call is still unanswered
	if left, _ := filepath.Glob(g.path("signkit-scd-*")); len(left) > 0 {
		t.Errorf("the bridge left %v", left)
	}
	signAgain(t, g)
}

func TestAgentThatIsToldToEnd(t *testing.T) {
	t.Parallel()
	s := startService(t, 0)
	g := newGnuPG(t, s, []string{"p-256"})
	bridge := g.bridgeProcess()
	output, end := hang(t, g, s)
	g.run("gpgconf", "--kill", "gpg-agent")
	mustFail(t, output, end)
	bridge.waitEnd(t)
	signAgain(t, g)
}

func TestKilledBridge(t *testing.T) {
	t.Parallel()
	s := startService(t, 0)
	g := newGnuPG(t, s, []string{"p-256"})
	bridge := g.bridgeProcess()
	output, end := hang(t, g, s)
	bridge.kill(t)
	mustFail(t, output, end)
	signAgain(t, g)
}

func TestKillSCD(t *testing.T) {
	t.Parallel()
	s := startService(t, 0)
	g := newGnuPG(t, s, []string{"p-256"})
	bridge := g.bridgeProcess()
	g.agent("SCD KILLSCD")
	bridge.waitEnd(t)
	signAgain(t, g)
}

func TestKilledGPG(t *testing.T) {
	t.Parallel()
	s := startService(t, 0)
	g := newGnuPG(t, s, []string{"p-256"})
	s.ClearRequests()
	setFault(t, s, mockapi.Fault{Route: "sign", Kind: "hang"})
	file := g.file()
	cmd := g.command("gpg", "--batch", "-u", g.keys["p-256"].Fingerprint(), "-o", file+".sig", "--detach-sign", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitRequests(t, s, 1)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	// gpg-agent goes on waiting for the signature; others sign meanwhile.
	signAgain(t, g)
}

// The service is away in the middle of a batch: that signature fails and leaves
// nothing, the next one works.
func TestOutageInABatch(t *testing.T) {
	s := startService(t, 0)
	g := newGnuPG(t, s, []string{"p-256"}, "SIGNPATH_TIMEOUTS_RETRY_COUNT=0")
	verify := g.verifier()
	for i := range 9 {
		fault := map[int]mockapi.Fault{
			2: {Route: "sign", Kind: "status", Status: 503}, 4: {Route: "sign", Kind: "wrong-signature"},
			6: {Route: "sign", Kind: "reset"},
		}[i]
		if fault.Kind == "" {
			file, signature := g.sign("p-256")
			if err := verify("--verify", signature, file); err != nil {
				t.Error(err)
			}
			continue
		}
		setFault(t, s, fault)
		file := g.file()
		out := g.refused(file+".sig", "-u", g.keys["p-256"].Fingerprint(), "--detach-sign", file)
		want := map[string]string{
			"status": "Server indicated a failure", "wrong-signature": "Bad signature", "reset": "Network error"}[fault.Kind]
		if !strings.Contains(out, "signing failed: "+want) {
			t.Errorf("%s: gpg says\n%s\nwant %s", fault.Kind, out, want)
		}
	}
	for _, record := range []string{" error ", "503 Service Unavailable", "does not verify"} {
		if !strings.Contains(g.log(), record) {
			t.Errorf("no %q in the log:\n%s", record, g.log())
		}
	}
	if strings.Contains(g.log(), s.Token()) {
		t.Error("the log shows the token")
	}
}

// A transient failure is repeated; gpg sees nothing of it.
func TestOutageThatEndsInTime(t *testing.T) {
	s := startService(t, 0)
	g := newGnuPG(t, s, []string{"p-256"}, "SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY=0.01")
	setFault(t, s, mockapi.Fault{Route: "sign", Kind: "status", Status: 503, Count: 2})
	file, signature := g.sign("p-256")
	if err := g.verifier()("--verify", signature, file); err != nil {
		t.Error(err)
	}
}

func TestServiceThatRefuses(t *testing.T) {
	s := startService(t, 0)
	for name, test := range map[string]struct {
		settings []string
		want     string
	}{
		"token unknown": {[]string{"SIGNPATH_API_TOKEN=c29tZXRoaW5nIGVsc2UgdGhhbiB0aGF0IHRva2Vu"}, "Bad authentication"},
		"user may not":  {[]string{"SIGNPATH_API_TOKEN=" + s.SecondToken()}, "Forbidden"},
		"not there": {[]string{"SIGNPATH_API_URL=https://127.0.0.1:1/Api",
			"SIGNPATH_TIMEOUTS_RETRY_COUNT=0"}, "Connection refused"},
		"unknown root": {[]string{"SIGNKIT_CA_FILE=", "SIGNPATH_TIMEOUTS_RETRY_COUNT=0"}, "Configuration error"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGnuPG(t, s, []string{"p-256"}, test.settings...)
			file := g.file()
			out := g.refused(file+".sig", "-u", g.keys["p-256"].Fingerprint(), "--detach-sign", file)
			if !strings.Contains(out, "signing failed: "+test.want) {
				t.Errorf("gpg says\n%s\nwant %s; the bridge says\n%s", out, test.want, g.log())
			}
		})
	}
}

// With settings or a key list that are wrong the bridge stays up and says so
// when it is to sign, and only then.
func TestBrokenConfiguration(t *testing.T) {
	s := startService(t, 0)
	broken := filepath.Join(t.TempDir(), "settings.json")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		settings []string
		spoil    func(*gnupg)
		record   string
	}{
		"no token":          {[]string{"SIGNPATH_API_TOKEN="}, nil, "SIGNPATH_API_TOKEN"},
		"no URL":            {[]string{"SIGNPATH_API_URL=::"}, nil, "SIGNPATH_API_URL"},
		"broken file":       {[]string{"SIGNPATH_CONFIG_FILE=" + broken}, nil, "settings.json"},
		"missing CA file":   {[]string{"SIGNKIT_CA_FILE=/nowhere.pem"}, nil, "SIGNKIT_CA_FILE"},
		"broken key list":   {nil, func(g *gnupg) { g.write(keyfile.Name, "{", 0o600) }, keyfile.Name},
		"no key list":       {nil, func(g *gnupg) { _ = os.Remove(g.path(keyfile.Name)) }, keyfile.Name},
		"no such module":    {nil, func(g *gnupg) { replaceSource(g, "/nowhere.so") }, "/nowhere.so"},
		"not even a module": {nil, func(g *gnupg) { replaceSource(g, "/bin/sh") }, "/bin/sh"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGnuPG(t, s, []string{"p-256"}, test.settings...)
			if test.spoil != nil {
				test.spoil(g)
			}
			s.ClearRequests()
			file := g.file()
			out := g.refused(file+".sig", "-u", g.keys["p-256"].Fingerprint(), "--detach-sign", file)
			if !strings.Contains(out, "signing failed: Configuration error") || !strings.Contains(out, "FAILURE sign 100663411") {
				t.Errorf("gpg says\n%s\nthe bridge says\n%s", out, g.log())
			}
			if log := g.log(); !strings.Contains(log, " error ") || !strings.Contains(log, test.record) {
				t.Errorf("no %q in the log:\n%s", test.record, log)
			}
			if g.agent("SCD SERIALNO") == "" {
				t.Error("the bridge has left")
			}
			if n := len(s.Requests()); n != 0 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// replaceSource says that the key lies behind a module.
func replaceSource(g *gnupg, module string) {
	g.t.Helper()
	path := g.path(keyfile.Name)
	list, err := keyfile.Load(path)
	if err != nil {
		g.t.Fatal(err)
	}
	e := list.Keys[0]
	e.SignPath, e.PKCS11 = nil, &keyfile.PKCS11{Module: module, Token: "x"}
	if err := os.Remove(path); err != nil {
		g.t.Fatal(err)
	}
	if err := keyfile.Add(path, e); err != nil {
		g.t.Fatal(err)
	}
}

// Settings that were wrong may be put right in their file without a restart.
func TestSettingsFileThatIsPutRight(t *testing.T) {
	s := startService(t, 0)
	file := filepath.Join(t.TempDir(), "token")
	g := newGnuPG(t, s, []string{"p-256"}, "SIGNPATH_API_TOKEN=", "SIGNPATH_API_TOKEN_FILE="+file)
	out := g.refused(g.path("x.sig"), "-u", g.keys["p-256"].Fingerprint(), "--detach-sign", g.file())
	if !strings.Contains(out, "Configuration error") {
		t.Errorf("gpg says\n%s", out)
	}
	if err := os.WriteFile(file, []byte(s.Token()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.sign("p-256")
}
