// Command testcount runs `go test -json`, shows what a person wants to see of it and counts.
//
//	testcount [--count FILE] [--no-skip ALLOWED] -- GO-TEST-ARGUMENTS…
//
// It prints one line per package with its time, the output of each failed test, and each skipped test with its reason.
// FILE gets "PASSED FAILED SKIPPED". A test with subtests counts as its subtests. With --no-skip, a skipped test that the
// file ALLOWED does not name is a failure. The exit status is 1 if anything failed.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/spf13/pflag"
)

func main() {
	countFile := pflag.String("count", "", "write the counts to this `file`")
	allowed := pflag.String("no-skip", "", "skipped tests fail unless this `file` names them")
	pflag.Parse()

	c, err := run(pflag.Args(), *allowed, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(2)
	}
	if *countFile != "" {
		line := fmt.Sprintf("%d %d %d\n", c.passed, c.failed, c.skipped)
		if err := os.WriteFile(*countFile, []byte(line), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "testcount:", err)
			os.Exit(2)
		}
	}
	if c.failed > 0 {
		os.Exit(1)
	}
}

// run executes go test with args and returns the counts. A non-zero exit of go test that no event explains counts as one failure.
func run(args []string, allowedFile string, out io.Writer) (counts, error) {
	allow, err := readAllowed(allowedFile)
	if err != nil {
		return counts{}, err
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return counts{}, err
	}
	if err := cmd.Start(); err != nil {
		return counts{}, fmt.Errorf("starting go test: %w", err)
	}
	s := newSummary(out, allow)
	scanner := bufio.NewScanner(events)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		s.line(scanner.Bytes())
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return counts{}, fmt.Errorf("waiting for go test: %w", err)
	}
	c := s.total()
	if exit != nil && c.failed == 0 {
		c.failed = 1
	}
	return c, scanner.Err()
}
