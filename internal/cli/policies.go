package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"signkit/internal/pgpkey"
	"signkit/internal/signpath"
)

func newPoliciesCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policies [PROJECT[/POLICY]]",
		Short: "List the signing policies that the token's user may sign with",
		Long: `List the signing policies that the token's user may sign with: the name that
tools use for the key, the key's type, and when its certificate expires. The
service lists a policy only to its submitters.`,
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
			return a.showPolicies(cmd.Context(), keys)
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
	GPG         *gpgIdentity `json:"gpg,omitempty"`
}

// gpgIdentity is what people ask about a GPG public key.
type gpgIdentity struct {
	Fingerprint string     `json:"fingerprint"`
	UserID      string     `json:"userId"`
	Created     time.Time  `json:"created"`
	Expires     *time.Time `json:"expires,omitempty"`
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

func (a *app) showPolicies(ctx context.Context, keys []*signpath.Key) error {
	rows := []policyRow{}
	for _, key := range keys {
		row := rowOf(key)
		if key.IsGPG() {
			row.GPG = a.gpgIdentity(ctx, key)
		}
		rows = append(rows, row)
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

// gpgIdentity asks the service for the public key of a policy; nil, with a warning, where that
// is not to be had.
func (a *app) gpgIdentity(ctx context.Context, key *signpath.Key) *gpgIdentity {
	data, err := a.service.GPGPublicKey(ctx, key.ProjectSlug(), key.PolicySlug())
	if err != nil {
		a.ui.warning("the GPG public key of %s: %v", key.ID(), err)
		return nil
	}
	public, err := pgpkey.Parse(data)
	if err != nil {
		a.ui.warning("the GPG public key of %s: %v", key.ID(), err)
		return nil
	}
	g := &gpgIdentity{Fingerprint: public.Fingerprint(), UserID: public.UserID(), Created: public.Created()}
	if end := public.Expires(); !end.IsZero() {
		g.Expires = &end
	}
	return g
}

// expiry is the end of the certificate or GPG key.
func (r policyRow) expiry(now time.Time) string {
	switch {
	case r.Certificate != nil:
		return expiryText(r.Certificate.NotAfter, now)
	case r.GPG == nil:
		return "unknown"
	case r.GPG.Expires == nil:
		return "never"
	}
	return expiryText(*r.GPG.Expires, now)
}

// expiryText is a date, with a word where it is near or past.
func expiryText(end, now time.Time) string {
	switch left := end.Sub(now); {
	case left <= 0:
		return day(end) + " (expired)"
	case left <= expirySoon:
		return fmt.Sprintf("%s (%d days)", day(end), int(left.Hours()/24))
	}
	return day(end)
}
