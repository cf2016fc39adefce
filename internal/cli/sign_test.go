package cli

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"signkit/internal/artifact"
	"signkit/internal/config"
	"signkit/internal/mockapi"
	"signkit/internal/signpath"
)

// TestEachHandHasEventsOfItsOwn: tools get a file for them beside the user's own log, which stays as it was asked for.
func TestEachHandHasEventsOfItsOwn(t *testing.T) {
	for name, log := range map[string][]string{
		"no log":              nil,
		"log in a folder":     {"SIGNPATH_LOG_FILE_DIRECTORY=/var/log/build", "SIGNPATH_LOG_FILE_LEVEL=debug"},
		"log of a file":       {"SIGNPATH_CONFIG_FILE=/etc/signkit.json"},
		"inside another call": {config.EventsVariable + "=/tmp/other"},
	} {
		environ := append([]string{"TMPDIR=" + t.TempDir()}, log...)
		a := newApp(environ, "/", nil, io.Discard, io.Discard)
		a.settings = &config.Config{}
		set := &handSet{}
		defer set.close()
		seen := map[string]bool{}
		for range 2 {
			hand, err := a.hand(t.Context(), set, artifact.Hand{Signer: &artifact.Signer{}, Verifier: &artifact.Verifier{}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			seen[hand.Events.Path] = true
			want := append(without(environ, config.EventsVariable), config.EventsVariable+"="+hand.Events.Path)
			if !slices.Equal(hand.Signer.Environ, want) {
				t.Errorf("%s: the tools run in %q, want %q", name, hand.Signer.Environ, want)
			}
		}
		if len(seen) != 2 {
			t.Errorf("%s: two hands share a file", name)
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
