package main

import (
	"io"
	"slices"
	"testing"

	"signkit/internal/artifact"
	"signkit/internal/config"
)

// TestEachHandHasRecordsOfItsOwn: tools get a folder for them beside the user's own log, which stays as it was asked for.
func TestEachHandHasRecordsOfItsOwn(t *testing.T) {
	for name, log := range map[string][]string{
		"no log":              nil,
		"log in a folder":     {"SIGNPATH_LOG_FILE_DIRECTORY=/var/log/build", "SIGNPATH_LOG_FILE_LEVEL=debug"},
		"log of a file":       {"SIGNPATH_CONFIG_FILE=/etc/signkit.json"},
		"inside another call": {config.RecordDirectoryVariable + "=/tmp/other"},
	} {
		environ := append([]string{"TMPDIR=" + t.TempDir()}, log...)
		a := newApp(environ, "/", nil, io.Discard, io.Discard)
		set := &handSet{}
		defer set.close()
		seen := map[string]bool{}
		for range 2 {
			hand, err := a.hand(t.Context(), set, artifact.Hand{Signer: &artifact.Signer{}, Verifier: &artifact.Verifier{}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			seen[hand.Log.Folder] = true
			want := append(without(environ, config.RecordDirectoryVariable), config.RecordDirectoryVariable+"="+hand.Log.Folder)
			if !slices.Equal(hand.Signer.Environ, want) {
				t.Errorf("%s: the tools run in %q, want %q", name, hand.Signer.Environ, want)
			}
		}
		if len(seen) != 2 {
			t.Errorf("%s: two hands share a folder", name)
		}
	}
}
