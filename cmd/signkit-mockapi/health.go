package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/pflag"

	"signkit/internal/mockapi"
)

const healthHelp = `Exit 0 if the service with that state folder answers (for a container's HEALTHCHECK).

Usage:
  signkit-mockapi health [flags]
`

func healthCommand(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("health", pflag.ContinueOnError)
	state := flags.String("state", defaultState, "`DIR` given to serve")
	timeout := flags.Duration("timeout", 5*time.Second, "how long to wait for the answer")
	if help, err := parse(flags, args, stdout, healthHelp); help || err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	return mockapi.CheckHealth(ctx, *state)
}
