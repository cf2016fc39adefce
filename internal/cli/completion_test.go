package cli

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
)

// TestPackagedCompletion: packages have the completion script as a file, so that none of them needs a program that runs here.
func TestPackagedCompletion(t *testing.T) {
	const file = "../../packaging/completion.bash"
	var script bytes.Buffer
	root := newRootCommand(newApp(nil, "/", strings.NewReader(""), &script, io.Discard))
	root.SetArgs([]string{"completion", "bash"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	packaged, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packaged, script.Bytes()) {
		t.Errorf("%s is another one than signkit writes; run: go run ./cmd/signkit completion bash >packaging/completion.bash", file)
	}
}
