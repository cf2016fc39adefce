// Command formatspage writes docs/formats.md from the table of formats in internal/artifact. It is called from the repository's root:
//
//	formatspage
//
// A test beside it compares the page with the table.
package main

import (
	"fmt"
	"os"
	"strings"

	"signkit/internal/artifact"
)

const file = "docs/formats.md"

const head = `<!-- written by scripts/formatspage from the rows in internal/artifact; change it there, then: go generate ./internal/artifact -->

# Formats

The formats that ` + "`signkit sign` and `signkit verify`" + ` know. A file's format is recognised by its content or, where that is not
enough, by its name; ` + "`signkit sign --plan`" + ` shows it without signing. GPG keys are policies whose certificate is a GPG key, or others
with ` + "`--public-key`" + `; X.509 keys are policies with an X.509 certificate.

`

const foot = `
[images/matrix.json](../images/matrix.json) lists the packages that provide the tools, release by release; the
[README](../README.md#what-has-been-tested) says what has been tested. For anything else, use the tools directly: see the
[samples](../samples/).
`

func main() {
	if err := os.WriteFile(file, []byte(page(artifact.Formats(), artifact.ForeignFormats())), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "formatspage:", err)
		os.Exit(1)
	}
}

func page(formats []artifact.Format, others []artifact.ForeignFormat) string {
	var b strings.Builder
	b.WriteString(head)
	rows := [][]string{{"format", "files", "key", "signed by", "verified by", "signature", "time-stamp"}}
	for _, f := range formats {
		key := "X.509"
		if f.OpenPGP {
			key = "GPG"
		}
		rows = append(rows, []string{code(f.Kind), f.Files, key, f.Tool, f.Judge, signature(f), orDash(f.TimeStamp)})
	}
	writeTable(&b, rows)
	b.WriteString("\nWhat they need, and what they cannot do:\n\n")
	rows = [][]string{{"format", "versions", "key types", "signatures of others", "limits"}}
	for _, f := range formats {
		rows = append(rows, []string{code(f.Kind), f.Versions, f.Keys, f.Several, orDash(f.Limits)})
	}
	writeTable(&b, rows)
	b.WriteString("\nFiles that other tools sign are refused, unless `--detached` asks for a signature beside them:\n\n")
	rows = [][]string{{"file", "file name suffixes", "signed by"}}
	for _, f := range others {
		endings := "–"
		if len(f.Endings) > 0 {
			endings = "`" + strings.Join(f.Endings, "` `") + "`"
		}
		rows = append(rows, []string{f.Name, endings, f.Tool})
	}
	writeTable(&b, rows)
	b.WriteString(foot)
	return b.String()
}

// signature says where it is, with file names as code.
func signature(f artifact.Format) string {
	if f.Embedded {
		return f.Place()
	}
	return "`" + strings.Join(f.Beside, "`, `") + "` beside it"
}

func code(kind artifact.Kind) string { return "`" + string(kind) + "`" }

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

// writeTable writes a table in Markdown; the first row is its head.
func writeTable(b *strings.Builder, rows [][]string) {
	for i, row := range rows {
		for j := range row {
			row[j] = strings.ReplaceAll(row[j], "|", `\|`)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintln(b, "|"+strings.Repeat("---|", len(row)))
		}
	}
}
