package cli

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"signkit/internal/caller"
	"signkit/internal/key"
	"signkit/internal/logging"
	"signkit/internal/signpath"
)

// expirySoon is how long before its end a certificate or key is worth a warning at every signing.
const expirySoon = 30 * 24 * time.Hour

// completionTime bounds the request behind the Tab key.
const completionTime = 3 * time.Second

// keyName is the name of a key that a person gave.
type keyName = key.ID

// parseKeyName is key.ParseID, for what stands on the command line.
func parseKeyName(s string) (keyName, error) {
	id, err := key.ParseID(s)
	if err != nil {
		return id, withHint(withCode(exitUsage, err), "give the slugs of the project and of the signing policy; signkit policies lists them")
	}
	return id, nil
}

// keyName is the key that the first argument names, or the one that the settings narrow to.
func (a *app) keyName(args []string) (keyName, error) {
	if len(args) > 0 {
		return parseKeyName(args[0])
	}
	cfg, err := a.config()
	if err != nil {
		return keyName{}, err
	}
	name := keyName{Project: cfg.ProjectSlug, Policy: cfg.SigningPolicySlug}
	if !name.Named() {
		return keyName{}, withHint(usageError("no key is named"),
			"give PROJECT/POLICY, or set SIGNPATH_PROJECT_SLUG and SIGNPATH_SIGNING_POLICY_SLUG")
	}
	return name, nil
}

// key asks the service for one signing policy's key.
func (a *app) key(ctx context.Context, name keyName) (*signpath.Key, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	keys, err := client.Policies(ctx, signpath.Filter{ProjectSlug: name.Project, SigningPolicySlug: name.Policy})
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if key.ID() == name.String() {
			return key, nil
		}
	}
	return nil, noPolicy(name.String())
}

// warnExpiry says that a certificate or key ends soon or has ended. Signing goes on.
func (a *app) warnExpiry(what string, end time.Time) {
	left := time.Until(end)
	switch {
	case end.IsZero():
	case left <= 0:
		a.ui.warning("%s expired on %s", what, day(end))
	case left <= expirySoon:
		a.ui.warning("%s expires on %s, in %d days", what, day(end), int(left.Hours()/24))
	}
}

// warnCertificate is warnExpiry for the certificate of a key, if it has one.
func (a *app) warnCertificate(key *signpath.Key) {
	if certificate := key.Certificate(); certificate != nil {
		a.warnExpiry("the certificate of "+key.ID(), certificate.NotAfter)
	}
}

// day is how dates are shown.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// keyType names a public key as people do: "RSA 3072", "P-256".
func keyType(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return k.Curve.Params().Name
	}
	return fmt.Sprintf("%T", public)
}

// completeKeys offers the service's keys at the Tab key.
func (a *app) completeKeys(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	client, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	keys, err := client.Policies(ctx, signpath.Filter{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, key := range keys {
		if logging.Line(key.ID()) == key.ID() { // the shell prints it, and puts it into the command line
			names = append(names, key.ID()+"\t"+keyType(key.Public()))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// thisProcess is who asks for signatures, for the service's audit log.
func (a *app) thisProcess() caller.Process { return caller.Describe(os.Getpid(), a.ui.redactor.Redact) }

func platform() string { return runtime.GOOS + "; " + runtime.GOARCH }
