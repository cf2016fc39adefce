package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"signkit/internal/signpath"
)

func newPoliciesCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policies [PROJECT[/POLICY]]",
		Short: "List the signing policies that the token's user may sign with",
		Long: `List the signing policies that the token's user may sign with: the name that
tools use for the key, the key's type, and when its certificate ends. The service
lists a policy only to users who are submitters of it.`,
		Example: `  signkit policies
  signkit policies my-project --json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: func(cmd *cobra.Command, args []string) error {
			filter := policyFilter(args)
			client, err := a.client()
			if err != nil {
				return err
			}
			keys, err := client.Policies(cmd.Context(), filter)
			if err != nil {
				return err
			}
			if len(keys) == 0 && len(args) > 0 {
				return noPolicy(args[0])
			}
			return a.showPolicies(keys)
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func policyFilter(args []string) signpath.Filter {
	if len(args) == 0 {
		return signpath.Filter{}
	}
	project, policy, _ := strings.Cut(args[0], "/")
	return signpath.Filter{ProjectSlug: project, SigningPolicySlug: policy}
}

// noPolicy is the error for a name that the service does not list: it does not exist, or this
// user may not know.
func noPolicy(name string) error {
	return withHint(withCode(exitRefused, fmt.Errorf("there is no signing policy %s that this token's user may submit to", name)),
		"signkit policies lists those there are; the user must be a submitter of the policy")
}

// policyRow is one signing policy in the JSON document.
type policyRow struct {
	ID          string       `json:"id"`
	Project     string       `json:"project"`
	Policy      string       `json:"policy"`
	PolicyID    string       `json:"policyId,omitempty"`
	KeyType     string       `json:"keyType"`
	Kind        string       `json:"kind"` // "x509" or "gpg"
	Permission  string       `json:"permission"`
	Certificate *certificate `json:"certificate,omitempty"`
}

// certificate is what people ask about an X.509 certificate.
type certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	SHA256    string    `json:"sha256"`
}

func (a *app) showPolicies(keys []*signpath.Key) error {
	rows := []policyRow{}
	for _, key := range keys {
		rows = append(rows, rowOf(key))
	}
	if a.ui.json {
		return a.ui.document(map[string]any{"policies": rows})
	}
	if len(rows) == 0 {
		a.ui.warning("this token's user may submit to no signing policy")
		a.ui.hint("make the user a submitter of a signing policy in the service's settings")
		return nil
	}
	var cells [][]string
	for _, row := range rows {
		cells = append(cells, []string{row.ID, row.KeyType, row.Kind, row.expiry(time.Now()), row.Permission})
	}
	a.ui.table([]string{"POLICY", "KEY", "KIND", "EXPIRES", "PERMISSION"}, cells)
	return nil
}

func rowOf(key *signpath.Key) policyRow {
	row := policyRow{
		ID: key.ID(), Project: key.ProjectSlug(), Policy: key.PolicySlug(), PolicyID: key.PolicyID(),
		KeyType: keyType(key.Public()), Kind: "gpg", Permission: "submitter",
	}
	if c := key.Certificate(); c != nil {
		sum := sha256.Sum256(c.Raw)
		row.Kind = "x509"
		row.Certificate = &certificate{
			Subject: c.Subject.String(), Issuer: c.Issuer.String(), Serial: fmt.Sprintf("%X", c.SerialNumber),
			NotBefore: c.NotBefore, NotAfter: c.NotAfter, SHA256: hex.EncodeToString(sum[:]),
		}
	}
	return row
}

// expiry is the end of the certificate, with a word where it is near or past.
func (r policyRow) expiry(now time.Time) string {
	if r.Certificate == nil {
		return "-"
	}
	return expiryText(r.Certificate.NotAfter, now)
}

func expiryText(end, now time.Time) string {
	switch left := end.Sub(now); {
	case left <= 0:
		return day(end) + " (expired)"
	case left <= expirySoon:
		return fmt.Sprintf("%s (%d days)", day(end), int(left.Hours()/24))
	}
	return day(end)
}
