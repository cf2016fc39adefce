// Command signkit is the operator's command line (internal/cli).
package main

import (
	"os"

	"signkit/internal/cli"
)

func main() { os.Exit(cli.Main()) }
