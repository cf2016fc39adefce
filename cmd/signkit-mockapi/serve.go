package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	"signkit/internal/mockapi"
)

const (
	defaultState  = "mockapi-state"
	defaultListen = "127.0.0.1:8443"
	stopTime      = 5 * time.Second // for requests under way
)

const banner = `signkit-mockapi: a signing service for development and tests only.
  Its keys lie in plain files under %[1]s, and whoever reaches it may use the
  admin side %[2]s/_mock/ without a token.
  To use it:      . %[1]s/env
  Stop it with:   Ctrl-C or SIGTERM
`

const serveHelp = `Run the service until SIGTERM or SIGINT. When it is ready it prints one line
on standard output, "ready URL", and has written into the state folder:
env (shell lines), ca.pem (TLS), signing-root.pem and audit.jsonl.

Usage:
  signkit-mockapi serve [flags]

Examples:
  signkit-mockapi serve --state /tmp/mock &
  . /tmp/mock/env
`

func serveCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := mockapi.Options{Log: stderr}
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	flags.StringVar(&o.Listen, "listen", defaultListen, "`ADDR:PORT` to listen on; port 0 takes a free one")
	flags.StringVar(&o.StateDir, "state", defaultState, "`DIR` for keys and the files above; made if missing")
	config := flags.String("config", "", "JSON `FILE`; without it the built-in project \"demo\"")
	flags.BoolVar(&o.PlainHTTP, "plain-http", false, "no TLS; only on a loopback address")
	flags.StringArrayVar(&o.Hosts, "host", nil, "`NAME` for the server certificate, repeatable; the first is in the URL")
	if help, err := parse(flags, args, stdout, serveHelp); help || err != nil {
		return err
	}
	return serve(ctx, o, *config, stdout)
}

func serve(ctx context.Context, o mockapi.Options, config string, stdout io.Writer) error {
	if config != "" {
		cfg, err := mockapi.LoadConfig(config)
		if err != nil {
			return fmt.Errorf("--config: %w", err)
		}
		o.Config = cfg
	}
	s, err := mockapi.Start(o)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Log, banner, o.StateDir, s.BaseURL())
	fmt.Fprintf(stdout, "ready %s\n", s.APIURL())
	go func() {
		if err := s.GenerateKeys(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(o.Log, "signkit-mockapi:", err)
		}
	}()
	<-ctx.Done()
	bound, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if err := s.Close(bound); err != nil {
		return fmt.Errorf("stopping: %w", err)
	}
	return nil
}
