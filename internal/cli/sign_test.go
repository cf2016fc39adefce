package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signkit/internal/artifact"
	"signkit/internal/config"
	"signkit/internal/mockapi"
	"signkit/internal/signpath"
)

// TestToolsOfABatchHaveNoCredentials, and each pair of hands has an agent's socket of its own.
func TestToolsOfABatchHaveNoCredentials(t *testing.T) {
	service, err := mockapi.Start(mockapi.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close(context.WithoutCancel(t.Context()))
	token := lookup(service.Environment(), "SIGNPATH_API_TOKEN")
	environ := append(service.Environment(), "TMPDIR="+t.TempDir(), "COPY=x"+token, "SIGNKIT_EVENTS=/tmp/mine", "SIGNPATH_LOG_FILE_LEVEL=debug")
	a := newApp(environ, "/", nil, io.Discard, io.Discard)
	defer a.close()
	signs, err := a.startSignAgent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set := &handSet{}
	defer set.close()
	sockets := map[string]bool{}
	for range 2 {
		hand, err := a.hand(set, artifact.Hand{Signer: &artifact.Signer{}, Verifier: &artifact.Verifier{}}, signs)
		if err != nil {
			t.Fatal(err)
		}
		sockets[lookup(hand.Signer.Environ, config.AgentVariable)] = true
		for _, entry := range hand.Signer.Environ {
			if strings.Contains(entry, token) || strings.HasPrefix(entry, "SIGNKIT_EVENTS=") {
				t.Errorf("a tool gets %s", entry)
			}
		}
		if lookup(hand.Signer.Environ, "SIGNPATH_LOG_FILE_LEVEL") != "debug" {
			t.Error("a tool does not get the other settings")
		}
	}
	if len(sockets) != 2 || sockets[""] {
		t.Errorf("the sockets are %v", sockets)
	}
	if err := signs.close(); err != nil {
		t.Error(err)
	}
	for socket := range sockets {
		if _, err := os.Lstat(socket); err == nil {
			t.Errorf("%s stays", socket)
		}
	}
}

// TestAPublicKeyDecidesWhatAKeySigns: one that was made of a policy with a certificate lets it sign as a GPG key, and, where no other
// key does, still with its certificate.
func TestAPublicKeyDecidesWhatAKeySigns(t *testing.T) {
	service, err := mockapi.Start(mockapi.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close(context.WithoutCancel(t.Context()))
	dir := t.TempDir()
	a := newApp(service.Environment(), dir, nil, io.Discard, io.Discard)
	defer a.close()
	const x509, other, gpg = "demo/p-256", "demo/p-384", "demo/gpg-p-256"
	create := newRootCommand(a)
	create.SetArgs([]string{"gpg", "create", x509, "--output", filepath.Join(dir, "release.asc")})
	if err := create.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		keys           []string
		publicKey      string
		openPGP, certs string // ids
		err            string
	}{
		{[]string{x509}, "", "", x509, ""},
		{[]string{gpg, x509}, "", gpg, x509, ""},
		{[]string{x509}, "release.asc", x509, x509, ""},
		{[]string{other, x509}, "release.asc", x509, other, ""},
		{[]string{gpg, x509}, "release.asc", "", "", "are of the same type"},
		{[]string{other, x509}, "", "", "", "are of the same type"},
		{[]string{other}, "release.asc", "", "", "belongs to none of the named keys"},
		{[]string{gpg}, "release.asc", "", "", "belongs to none of the named keys"},
	} {
		set := &handSet{}
		r := &signRequest{keys: test.keys, publicKey: test.publicKey}
		err := a.readInputs(t.Context(), r, set)
		if err == nil {
			err = a.chooseKeys(t.Context(), r, set)
		}
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) || exitCodeOf(err) != exitUsage {
				t.Errorf("%v with %q: %v, want one with %q", test.keys, test.publicKey, err, test.err)
			}
			continue
		}
		id := func(key *signpath.Key) string {
			if key == nil {
				return ""
			}
			return key.ID()
		}
		if err != nil || id(set.openPGP) != test.openPGP || id(set.x509) != test.certs {
			t.Errorf("%v with %q: %q and %q sign (%v), want %q and %q", test.keys, test.publicKey, id(set.openPGP), id(set.x509), err, test.openPGP, test.certs)
		}
	}
}
