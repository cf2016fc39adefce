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
	if string(written) != page(artifact.Formats(), artifact.ForeignFormats()) {
		t.Errorf("%s is not what the rows of internal/artifact say; run: go generate ./internal/artifact", file)
	}
}

// TestCellsStayInTheirColumns whatever a row says.
func TestCellsStayInTheirColumns(t *testing.T) {
	text := page([]artifact.Format{{Kind: "x", Beside: []string{"a", "b"}, Facts: artifact.Facts{Files: "one | two"}}},
		[]artifact.ForeignFormat{{Name: "a thing", Tool: "its tool"}, {Name: "b", Endings: []string{".b", ".c"}, Tool: "b | c"}})
	for _, want := range []string{"| `x` | one \\| two | X.509 |", "| `a`, `b` beside it | – |\n", "| `x` |  |  |  | – |\n",
		"| a thing | – | its tool |\n", "| b | `.b` `.c` | b \\| c |\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
}
