package cli

import (
	"runtime"

	"github.com/spf13/cobra"

	"signkit/internal/version"
)

func newVersionCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.ui.json {
				return a.ui.document(struct {
					Version  string `json:"version"`
					Go       string `json:"go"`
					Platform string `json:"platform"`
				}{version.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
			}
			a.ui.line("signkit %s (%s, %s/%s)", version.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
