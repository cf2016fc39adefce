// Command bench measures the module beside what would do the same work without
// it, both sides in one run and alternating, prints a table and writes it as
// JSON. README.md explains the rows, their targets and the limits found.
//
// Another group of rows is another file with one function, and one line in groups.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
)

// group measures some rows that belong together.
type group struct {
	name    string
	measure func(*bench) ([]row, error)
}

// groups is the table of the report, in its order.
var groups = []group{
	{"distant", distant},
	{"start", start},
	{"openssl", wholeOpenSSL},
	{"agent", throughAgent},
	{"agent-burst", agentBurst},
	{"agent-memory", agentMemory},
	{"gpg", wholeGPG},
	{"batch", wholeBatch},
	{"parallel", parallel},
	{"stream", stream},
	{"policies", policies},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == rawClientCommand {
		exit(rawClient(os.Args[2:]))
	}
	build := pflag.String("build", "build", "folder of the module and its token process")
	runs := pflag.Int("runs", 31, "measurements of each side, alternating")
	only := pflag.String("only", "", "measure only groups that match this regular expression: "+names())
	other := pflag.String("other-build", os.Getenv("BENCH_OTHER_BUILD"), "folder of another build of signkit, to compare with in groups agent and batch")
	report := pflag.String("report", "build/reports/bench.json", "JSON file to write")
	pflag.Parse()
	exit(run(*build, *other, *report, *only, *runs))
}

func names() string {
	var list []string
	for _, g := range groups {
		list = append(list, g.name)
	}
	return strings.Join(list, " ")
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(build, other, report, only string, runs int) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, err := newBench(ctx, build, runs)
	if err != nil {
		return err
	}
	defer b.close()
	if other != "" {
		if b.otherBuild, err = filepath.Abs(other); err != nil {
			return err
		}
	}
	var rows []row
	for _, g := range groups {
		if !wanted.MatchString(g.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", g.name)
		more, err := g.measure(b)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		for i := range more {
			more[i].Group = g.name
		}
		rows = append(rows, more...)
	}
	printTable(os.Stdout, rows)
	return writeJSON(report, rows)
}
