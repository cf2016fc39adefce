package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signkit/internal/artifact"
)

// TestPageIsWhatTheTableSays: docs/formats.md is written, not edited.
func TestPageIsWhatTheTableSays(t *testing.T) {
	written, err := os.ReadFile(filepath.Join("..", "..", file))
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != page(artifact.Formats()) {
		t.Errorf("%s is not what the rows of internal/artifact say; run: go generate ./internal/artifact", file)
	}
}

// TestCellsStayInTheirColumns whatever a row says.
func TestCellsStayInTheirColumns(t *testing.T) {
	text := page([]artifact.Format{{Kind: "x", Beside: []string{"a", "b"}, Facts: artifact.Facts{Files: "one | two"}}})
	for _, want := range []string{"| `x` | one \\| two | X.509 |", "| `a`, `b` beside it | – |\n", "| `x` |  |  |  | – |\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
}
