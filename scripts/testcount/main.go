// Command testcount runs `go test -json`, shows what a person wants to see of it and counts.
//
//	testcount [--count FILE] [--no-skip ALLOWED] -- GO-TEST-FLAGS… PACKAGE…
//
// It prints one line per package with its time, one per group of tests that took long, the output of each failed test, and
// each skipped test with its reason. A group is a test, or those of its subtests TEST/NAME/… that have the same NAME. On a
// terminal, one line more shows what runs and how far it is; elsewhere such a line is printed after each minute without any other.
// FILE gets "PASSED FAILED SKIPPED". A test with subtests counts as its subtests. With --no-skip, a skipped test that the
// file ALLOWED does not name is a failure. Flags of go test have the form -NAME=VALUE. The exit status is 1 if anything failed.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	countFile := pflag.String("count", "", "write the counts to this `file`")
	allowed := pflag.String("no-skip", "", "skipped tests fail unless this `file` names them")
	pflag.Parse()

	c, err := run(pflag.Args(), *allowed, newConsole(os.Stdout))
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
func run(args []string, allowedFile string, out *console) (counts, error) {
	allow, err := readAllowed(allowedFile)
	if err != nil {
		return counts{}, err
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = out
	cmd.WaitDelay = 10 * time.Second // a process that a test has left behind may hold its standard error
	events, err := cmd.StdoutPipe()
	if err != nil {
		return counts{}, err
	}
	if err := cmd.Start(); err != nil {
		return counts{}, fmt.Errorf("starting go test: %w", err)
	}
	s := newSummary(out, allow, len(packages(args)))
	scanner := bufio.NewScanner(events)
	scanner.Buffer(nil, 16<<20)
	follow(s, scanner)
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

// follow gives s every line, and each second the time, until the lines end.
func follow(s *summary, scanner *bufio.Scanner) {
	lines := make(chan []byte)
	go func() {
		defer close(lines)
		for scanner.Scan() {
			lines <- append([]byte(nil), scanner.Bytes()...)
		}
	}()
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	for {
		select {
		case line, more := <-lines:
			if !more {
				s.out.status("")
				return
			}
			s.line(line)
		case now := <-seconds.C:
			s.tick(now)
		}
	}
}

// packages are the arguments after the last flag.
func packages(args []string) []string {
	for i := len(args) - 1; i >= 0; i-- {
		if strings.HasPrefix(args[i], "-") {
			return args[i+1:]
		}
	}
	return args
}
