package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"signkit/internal/mockapi"
)

// gpg signs without terminal and pinentry, with one request for each signature,
// also the first, and none for anything else.
func TestGPGSigns(t *testing.T) {
	s := startService(t, 0)
	policies := []string{"rsa-2048", "rsa-3072", "p-256", "p-384", "p-521"}
	g := newGnuPG(t, s, policies)
	verify := g.verifier()
	s.ClearRequests()
	listed := g.gpg("-K", "--with-colons")
	for _, policy := range policies {
		if !strings.Contains(listed, ":"+g.keys[policy].Fingerprint()+":") {
			t.Errorf("gpg -K does not list %s:\n%s", policy, listed)
		}
	}
	g.gpg("--card-status")
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests before the first signature", n)
	}
	for i, policy := range policies {
		file, signature := g.sign(policy)
		if n := signRequests(t, s); n != i+1 {
			t.Fatalf("%s: %d requests for %d signatures", policy, n, i+1)
		}
		if err := verify("--verify", signature, file); err != nil {
			t.Errorf("%s: %v", policy, err)
		}
		if err := verify("--verify", signature, g.file()); err == nil {
			t.Errorf("%s: the signature verifies another file", policy)
		}
	}
	if requests := s.Requests(); requests[len(requests)-1].Connection != requests[0].Connection {
		t.Errorf("the connection was not kept: %v", requests)
	}
}

func TestGPGClearSignsAndSignsInline(t *testing.T) {
	s := startService(t, 0)
	g := newGnuPG(t, s, []string{"rsa-2048", "p-256"})
	verify := g.verifier()
	for policy, key := range g.keys {
		for _, form := range []string{"--clear-sign", "--sign"} {
			file := g.file()
			g.gpg("-u", key.Fingerprint(), "-o", file+".out", form, file)
			if err := verify("-o", file+".back", "--decrypt", file+".out"); err != nil {
				t.Errorf("%s %s: %v", policy, form, err)
			} else if !sameFile(t, file, file+".back") {
				t.Errorf("%s %s: other contents", policy, form)
			}
		}
	}
}

// Two keys in one call, the default key, a keygrip instead of a fingerprint.
func TestGPGChoosesKeys(t *testing.T) {
	s := startService(t, 0)
	g := newGnuPG(t, s, []string{"rsa-2048", "p-256"})
	verify := g.verifier()
	file := g.file()
	g.gpg("-u", g.keys["rsa-2048"].Fingerprint(), "-u", g.keys["p-256"].Fingerprint(), "-o", file+".two", "--detach-sign", file)
	g.gpg("-o", file+".default", "--detach-sign", file)
	grip := strings.Fields(g.agent("SCD KEYINFO --list"))[2]
	g.gpg("-u", "&"+grip, "-o", file+".grip", "--detach-sign", file)
	for _, signature := range []string{".two", ".default", ".grip"} {
		if err := verify("--verify", file+signature, file); err != nil {
			t.Error(err)
		}
	}
}

func TestGPGHashes(t *testing.T) {
	s := startService(t, 0)
	g := newGnuPG(t, s, []string{"rsa-2048", "p-256", "p-384"})
	verify := g.verifier()
	for _, test := range []struct {
		policy, hash string
		record       string // "" where it signs
	}{
		{"rsa-2048", "SHA256", ""}, {"rsa-2048", "SHA384", ""}, {"rsa-2048", "SHA512", ""},
		{"rsa-2048", "SHA224", "not supported"},
		{"p-256", "SHA384", ""}, {"p-256", "SHA512", ""}, {"p-384", "SHA512", ""},
		{"p-384", "SHA256", "too short for a key on the curve P-384"},
	} {
		t.Run(test.policy+"/"+test.hash, func(t *testing.T) {
			if test.record == "" {
				file, signature := g.sign(test.policy, "--digest-algo", test.hash)
				if err := verify("--verify", signature, file); err != nil {
					t.Error(err)
				}
				return
			}
			file := g.file()
			out := g.refused(file+".sig", "--digest-algo", test.hash, "-u", g.keys[test.policy].Fingerprint(), "--detach-sign", file)
			if !strings.Contains(out, "signing failed: Invalid digest algorithm") || !strings.Contains(g.log(), test.record) {
				t.Errorf("gpg says:\n%s\nand the bridge:\n%s", out, g.log())
			}
		})
	}
}

// Parallel jobs of a CI machine must all succeed: gpg-agent gives each client a
// connection of its own.
func TestParallelGPG(t *testing.T) {
	for _, test := range []struct {
		name              string
		processes, rounds int
		delay             time.Duration
	}{
		{"8 processes, 50 signatures each", 8, 50, 0},
		{"32 processes, 10 signatures each, 100 ms delay", 32, 10, 100 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startService(t, 0)
			g := newGnuPG(t, s, []string{"rsa-2048", "p-256"})
			s.ClearRequests()
			if test.delay > 0 {
				setFault(t, s, mockapi.Fault{Route: "sign", Kind: "delay", MS: int(test.delay.Milliseconds()), Count: -1})
			}
			var all sync.WaitGroup
			for process := range test.processes {
				policy := []string{"rsa-2048", "p-256"}[process%2]
				all.Go(func() { signMany(t, g, policy, test.rounds) })
			}
			all.Wait()
			if n, want := signRequests(t, s), test.processes*test.rounds; n != want {
				t.Errorf("%d requests for %d signatures", n, want)
			}
		})
	}
}

// signMany signs one file after the other and verifies each signature here.
func signMany(t *testing.T, g *gnupg, policy string, rounds int) {
	public, err := g.keys[policy].Binary()
	if err != nil {
		t.Error(err)
		return
	}
	ring, err := openpgp.ReadKeyRing(bytes.NewReader(public))
	if err != nil {
		t.Error(err)
		return
	}
	for range rounds {
		file := g.file()
		cmd := g.command("gpg", "--batch", "-u", g.keys[policy].Fingerprint(), "-o", file+".sig", "--detach-sign", file)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("gpg: %v\n%s", err, out)
			return
		}
		contents, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			return
		}
		signature, err := os.ReadFile(file + ".sig")
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := openpgp.CheckDetachedSignature(ring, bytes.NewReader(contents), bytes.NewReader(signature), nil); err != nil {
			t.Errorf("%s: %v", policy, err)
		}
	}
}

func setFault(t *testing.T, s *mockapi.Server, f mockapi.Fault) {
	t.Helper()
	if err := s.SetFaults([]mockapi.Fault{f}); err != nil {
		t.Fatal(err)
	}
}

// Two signatures are under way at the same time: the second client neither waits
// for the first nor is told that there is no card.
func TestTwoGPGAtOnce(t *testing.T) {
	s := startService(t, 0)
	g := newGnuPG(t, s, []string{"p-256"})
	s.ClearRequests()
	setFault(t, s, mockapi.Fault{Route: "sign", Kind: "hang", Count: 2})
	ends := make(chan error, 2)
	for range 2 {
		file := g.file()
		cmd := g.command("gpg", "--batch", "-u", g.keys["p-256"].Fingerprint(), "-o", file+".sig", "--detach-sign", file)
		go func() { ends <- cmd.Run() }()
	}
	waitRequests(t, s, 2) // neither of which is answered
	g.run("gpgconf", "--kill", "gpg-agent")
	for range 2 {
		if err := <-ends; err == nil {
			t.Error("gpg succeeded without an answer of the service")
		}
	}
}
