package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"signkit/internal/cli/doctor"
)

func newDoctorCommand(a *app) *cobra.Command {
	var sign bool
	cmd := &cobra.Command{
		Use:   "doctor [PROJECT/POLICY]",
		Short: "Find out why signing does not work, or will not",
		Long: `Check the settings, the connection to the service, token, keys, tools and this machine. Each
check prints one line and, if it fails, what to do. Without PROJECT/POLICY all keys of the
token's user are checked, or those that the settings select. With it, problems with tools
that this key does not need are only notes.

No signature is made unless --sign asks for a test with each key: only that reveals required
approvals and projects that are not set up for hash signing. No secret is printed.`,
		Example: `  signkit doctor
  signkit doctor my-project/release-signing --sign`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: func(cmd *cobra.Command, args []string) error {
			patient, err := a.patient(args, sign)
			if err != nil {
				return err
			}
			return a.examine(cmd.Context(), patient)
		},
	}
	cmd.Flags().BoolVar(&sign, "sign", false, "make one test signature with each key")
	a.jsonFlag(cmd)
	return cmd
}

// patient collects what there is; what is missing or wrong is for the doctor to find.
func (a *app) patient(args []string, sign bool) (doctor.Patient, error) {
	p := doctor.Patient{Environ: a.environ, Sign: sign}
	p.Config, p.ConfigError = a.loadConfig()
	if p.ConfigError == nil {
		p.Project, p.Policy = p.Config.ProjectSlug, p.Config.SigningPolicySlug
		// One attempt each: what fails now is a finding, and nobody waits ten minutes for it.
		p.Config.Timeouts.RetryCount, p.Config.Timeouts.Total = 0, 0
		p.Client, p.ClientError = a.anyClient(p.Config)
	}
	if len(args) > 0 {
		name, err := parseKeyName(args[0])
		if err != nil {
			return p, err
		}
		p.Project, p.Policy, p.Named = name.Project, name.Policy, true
	}
	if path, ok := installed("libsignkit-pkcs11.so"); ok {
		p.Module = path
	}
	if path, err := a.bridge(); err == nil {
		p.Bridge = path
	}
	return p, nil
}

func (a *app) examine(ctx context.Context, p doctor.Patient) error {
	findings := []doctor.Finding{}
	problems := 0
	area := ""
	doctor.Examine(ctx, p, func(f doctor.Finding) {
		f.Subject, f.Text, f.Fix = a.ui.redactor.Redact(f.Subject), a.ui.redactor.Redact(f.Text), a.ui.redactor.Redact(f.Fix)
		findings = append(findings, f)
		if f.State == doctor.Problem {
			problems++
		}
		if !a.ui.json {
			a.showFinding(f, area)
			area = f.Area
		}
	})
	if a.ui.json {
		if err := a.ui.document(findings); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if problems > 0 {
		return withCode(exitIncomplete, errors.New(plural(problems, "problem")+" found"))
	}
	return nil
}

// showFinding prints one aligned line, and what to do below it.
func (a *app) showFinding(f doctor.Finding, before string) {
	label := f.Area
	if label == before {
		label = ""
	}
	word := map[doctor.State]string{doctor.OK: "ok", doctor.Warning: "warning", doctor.Problem: "PROBLEM", doctor.Note: "note", doctor.Skipped: "skipped"}[f.State]
	line := fmt.Sprintf("%-9s %-8s %s: %s", label, word, f.Subject, f.Text)
	paint := noColour
	if f.State == doctor.Problem {
		paint = red
	}
	a.ui.paintedLine(paint, line)
	if f.Fix != "" && f.State != doctor.OK {
		a.ui.line("%-9s %-8s → %s", "", "", f.Fix)
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
