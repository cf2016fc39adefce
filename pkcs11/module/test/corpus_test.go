package moduletest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestRepliesOfAnyKind replays what the fuzzer of folder fuzz has found worth
// keeping: answers that no token process gives, under the sanitizers.
func TestRepliesOfAnyKind(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../fuzz/corpus/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	program := filepath.Join(t.TempDir(), "replay")
	if err := command("../../../scripts/fuzz-module.sh", "--output", program); err != nil {
		t.Fatal(err)
	}
	got := shared.run(t, host{args: append([]string{program}, files...)})
	if want := fmt.Sprintf("%d replayed\n", len(files)); got.code != 0 || got.stdout != want {
		lines := strings.Split(got.stderr, "\n")
		t.Errorf("ended with %d after %q:\n%s", got.code, got.stdout, strings.Join(lines[max(0, len(lines)-60):], "\n"))
	}
}
