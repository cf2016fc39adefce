package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"signkit/internal/mockapi"
)

func healthCommand() *cobra.Command {
	var state string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Exit 0 if the service with that state folder answers (for a container's HEALTHCHECK)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return mockapi.CheckHealth(ctx, state)
		},
	}
	cmd.Flags().StringVar(&state, "state", defaultState, "`DIR` given to serve")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	return cmd
}
