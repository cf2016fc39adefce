// Command soak lets many clients sign through one signkit agent for a long time, by every way in, while the service fails now and
// then and the agent is started anew twice, and checks what came of it: no signature is wrong, lost or unrecorded, and the agent
// does not grow. It prints a table, writes it as JSON, and exits with 1 when something is wrong.
//
// It only talks to this machine: the service is the mock service, over TLS.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

type options struct {
	build    string
	report   string
	duration time.Duration
	pause    time.Duration
	clients  int
	every    int
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == moduleClientCommand {
		exit(moduleClient(os.Args[2:]))
	}
	var o options
	pflag.StringVar(&o.build, "build", "build", "folder of signkit and the module")
	pflag.StringVar(&o.report, "report", "build/reports/soak.json", "JSON file to write")
	pflag.DurationVar(&o.duration, "duration", time.Hour, "how long clients sign")
	pflag.IntVar(&o.clients, "clients", 64, "clients at the same time")
	pflag.DurationVar(&o.pause, "pause", time.Second, "how long a client waits between two signatures")
	pflag.IntVar(&o.every, "fault-every", 50, "each of so many requests to the service fails: 503, 429 and reset connections in turn; 0: none")
	pflag.Parse()
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if o.build, err = filepath.Abs(o.build); err != nil {
		return err
	}
	s, err := newSoak(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	s.sign()
	r, err := s.judge()
	if err != nil {
		return err
	}
	r.print(os.Stdout)
	if err := r.write(o.report); err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		return fmt.Errorf("%d problems", len(r.Problems))
	}
	return nil
}
