package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	gnupghome "signkit/gpgagent/home"
	"signkit/gpgagent/keyfile"
	"signkit/internal/pgpkey"
)

// gpgInit is one call of gpg init.
type gpgInit struct {
	homedir     string
	githubEnv   bool
	publicFiles []string
	pkcs11      pkcs11Flags

	publicKeys []*pgpkey.Key // of --public-key
}

func newGPGInitCommand(a *app) *cobra.Command {
	var i gpgInit
	cmd := &cobra.Command{
		Use:   "init [PROJECT/POLICY…]",
		Short: `Prepare gpg in this shell: eval "$(signkit gpg init)"`,
		Long: `Create a GNUPGHOME in which gpg signs with remote keys, and print shell lines that set
GNUPGHOME and GPG_KEY_ID (the fingerprint of the first key) and clean up when the shell
ends. An existing EXIT trap of the shell is kept; one that is set later replaces ours and
should then call "signkit gpg kill". If no trap runs, as after SIGKILL, the agent ends a
few seconds after the shell.

The agent runs in the current environment: the token is not written to disk. With
--homedir an existing GNUPGHOME is used: its agent is restarted, its keys stay, and
nothing ends with the shell.

A policy whose certificate is a GPG key provides its public key. For other policies, and
for keys behind a PKCS#11 module, create one with "signkit gpg create" and pass it with
--public-key.`,
		Example: `  eval "$(signkit gpg init my-project/release-signing)"
  signkit gpg init --github-env my-project/release-signing   # for the steps that follow
  eval "$(signkit gpg init --public-key release.asc \
    --pkcs11-module /usr/lib/softhsm/libsofthsm2.so --token release --pin-file pin)"`,
		ValidArgsFunction: a.completeKeys,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.initGPG(cmd.Context(), &i, args)
			if err != nil && !a.ui.json && !i.githubEnv {
				err = errors.Join(err, a.ui.write([]byte(shellFailure(exitCodeOf(err)))))
			}
			return err
		},
	}
	flags := cmd.Flags()
	homedirFlag(cmd, &i.homedir, "use the GNUPGHOME `DIR` instead of a temporary one")
	flags.BoolVar(&i.githubEnv, "github-env", false, "write the variables to the file that GITHUB_ENV names, for later steps")
	flags.StringArrayVar(&i.publicFiles, "public-key", nil, "`FILE` with the public key; repeatable, one for each key")
	i.pkcs11.add(cmd)
	a.jsonFlag(cmd)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		err = cmd.Root().FlagErrorFunc()(cmd, err)
		return errors.Join(err, a.ui.write([]byte(shellFailure(exitCodeOf(err)))))
	})
	return cmd
}

// initGPG does all that can fail outside of the GNUPGHOME before there is one.
func (a *app) initGPG(ctx context.Context, i *gpgInit, args []string) error {
	unix.Umask(0o077)
	bridge, err := a.prepareGPG(ctx, i)
	if err != nil {
		return err
	}
	list, done, err := a.sources(ctx, args, i.pkcs11)
	if err != nil {
		return err
	}
	defer done()
	var keys []gnupghome.Key
	for _, s := range list {
		key, err := a.gpgKey(ctx, i, s)
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	environ, err := a.agentEnvironment()
	if err != nil {
		return err
	}
	home, handedOver, err := a.homeToHandOver(i)
	if err != nil {
		return err
	}
	defer handedOver()
	result, err := home.SetUp(ctx, gnupghome.Options{Bridge: bridge, Environ: environ, Keys: keys})
	if err != nil {
		return gpgHints(fmt.Errorf("preparing gpg: %w", err))
	}
	return a.handOver(ctx, i, home, keys, result)
}

// prepareGPG looks for what must be there.
func (a *app) prepareGPG(ctx context.Context, i *gpgInit) (bridge string, err error) {
	if i.githubEnv && a.environment("GITHUB_ENV") == "" {
		return "", withHint(usageError("--github-env: GITHUB_ENV is not set"),
			"it is set in the steps of a GitHub workflow; leave the flag out elsewhere")
	}
	if err := gnupghome.CheckPrograms(); err != nil {
		return "", gpgHints(err)
	}
	if bridge, err = a.bridge(); err != nil {
		return "", err
	}
	if err := unix.Access(bridge, unix.X_OK); err != nil {
		err = fmt.Errorf("the bridge %s cannot be started: %w", bridge, err)
		return "", withHint(withCode(exitMissingTool, err), bridgeVariable+" names another place")
	}
	i.publicKeys, err = a.readPublicKeys(ctx, i.publicFiles)
	return bridge, err
}

func (a *app) readPublicKeys(ctx context.Context, files []string) ([]*pgpkey.Key, error) {
	var keys []*pgpkey.Key
	for _, file := range files {
		key, err := a.readPublicKey(ctx, file)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (a *app) readPublicKey(ctx context.Context, file string) (*pgpkey.Key, error) {
	data, err := a.readInput(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("reading the public key (--public-key): %w", err)
	}
	key, err := pgpkey.Parse(data)
	if err != nil {
		return nil, withHint(fmt.Errorf("--public-key %s: %w", file, err), "signkit gpg create makes such a file")
	}
	return key, nil
}

// gpgKey joins a source with its public key.
func (a *app) gpgKey(ctx context.Context, i *gpgInit, s *source) (gnupghome.Key, error) {
	for _, public := range i.publicKeys {
		if belongs(s, public) == nil {
			return a.join(s, public)
		}
	}
	if len(i.publicKeys) > 0 && !s.isGPG() {
		return gnupghome.Key{}, withHint(fmt.Errorf("no --public-key belongs to the key %s", s.id()),
			"the file holds another key; signkit gpg create makes the one of this")
	}
	public, err := a.servicePublicKey(ctx, s)
	if err != nil {
		return gnupghome.Key{}, err
	}
	return a.join(s, public)
}

// servicePublicKey downloads the public key of a policy whose certificate is a GPG key.
func (a *app) servicePublicKey(ctx context.Context, s *source) (*pgpkey.Key, error) {
	if !s.isGPG() {
		return nil, withHint(fmt.Errorf("the key %s has no GPG public key", s.id()),
			"make one with signkit gpg create, keep the file, and name it with --public-key")
	}
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	data, err := client.GPGPublicKey(ctx, s.name.Project, s.name.Policy)
	if err != nil {
		return nil, err
	}
	public, err := pgpkey.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("the service's public key of %s: %w", s.id(), err)
	}
	return public, nil
}

// belongs checks that a public key is that of a source.
func belongs(s *source, public *pgpkey.Key) error {
	if !public.IsOf(s.public) {
		return fmt.Errorf("the GPG public key %s does not belong to the key %s", public.Fingerprint(), s.id())
	}
	return nil
}

// join makes the entry of a key whose public key is known.
func (a *app) join(s *source, public *pgpkey.Key) (gnupghome.Key, error) {
	if err := belongs(s, public); err != nil {
		return gnupghome.Key{}, err
	}
	spki, err := x509.MarshalPKIXPublicKey(s.public)
	if err != nil {
		return gnupghome.Key{}, err
	}
	data, err := public.Binary()
	if err != nil {
		return gnupghome.Key{}, err
	}
	e := s.entryWith(public)
	e.Public = spki
	if e.Expires != nil {
		a.warnExpiry("the GPG key of "+s.id(), *e.Expires)
	}
	if public.IsWeak() {
		a.ui.warning("the GPG key of %s has a self-signature with %s: apt of Debian 13, rpm from 4.20 on and RHEL from 9 on refuse such a key; "+
			"signkit gpg extend %s makes a stronger one", s.id(), public.Hash(), s.id())
	}
	return gnupghome.Key{Entry: e, Public: data}, nil
}

// makeHome makes a temporary GNUPGHOME, or takes the one that was named.
func (a *app) makeHome(homedir string) (*gnupghome.Home, error) {
	if homedir != "" {
		home, err := gnupghome.Open(a.absolute(homedir))
		return home, gpgHints(err)
	}
	parent := a.environment("TMPDIR")
	if parent == "" {
		parent = "/tmp"
	}
	home, err := gnupghome.Create(a.absolute(parent))
	return home, gpgHints(err)
}

// homeToHandOver is makeHome for a caller who has it when handedOver is called. Until then a temporary one ends with this process.
func (a *app) homeToHandOver(i *gpgInit) (_ *gnupghome.Home, handedOver func(), err error) {
	if i.homedir != "" {
		home, err := a.makeHome(i.homedir)
		return home, func() {}, err
	}
	watcher := a.watched()
	home, err := a.makeWatchedHome(watcher)
	if err != nil {
		watcher.Close()
		return nil, nil, err
	}
	return home, watcher.Close, nil
}

// agentEnvironment is what the agent and the bridge run in. The bridge runs in "/": settings
// that are paths are given to it in full.
func (a *app) agentEnvironment() ([]string, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	environ := append([]string{}, a.environ...)
	set := func(name, value string) {
		if value == "" {
			return
		}
		environ = append(without(environ, name), name+"="+value)
	}
	for _, name := range []string{"SIGNPATH_CONFIG_FILE", "SIGNPATH_API_TOKEN_FILE", "SOFTHSM2_CONF"} {
		set(name, a.absolute(a.environment(name)))
	}
	set("SIGNKIT_CA_FILE", cfg.CAFile)
	set("SIGNKIT_TLS_CLIENT_CERTIFICATE_FILE", cfg.TLSClientCertificateFile)
	set("SIGNKIT_CERTIFICATE_CHAIN_FILE", cfg.CertificateChainFile)
	set("SIGNPATH_LOG_FILE_DIRECTORY", cfg.Log.FileDirectory)
	set("SIGNKIT_EVENTS", cfg.Events)
	set("SSL_CERT_FILE", cfg.SSLCertFile)
	set("SSL_CERT_DIR", cfg.SSLCertDir)
	return environ, nil
}

// without leaves a variable out.
func without(environ []string, name string) []string {
	var rest []string
	for _, entry := range environ {
		if key, _, _ := strings.Cut(entry, "="); key != name {
			rest = append(rest, entry)
		}
	}
	return rest
}

// handOver tells the shell, the following steps or a program what was made.
func (a *app) handOver(ctx context.Context, i *gpgInit, home *gnupghome.Home, keys []gnupghome.Key,
	result gnupghome.Result) error {
	if result.Displaced != "" {
		a.ui.warning("gpg-agent in %s used %s; it now uses the bridge (the old line is kept as a comment)", home.Dir, result.Displaced)
	}
	var fingerprints []string
	for _, key := range keys {
		fingerprints = append(fingerprints, key.Entry.Fingerprint)
	}
	var err error
	switch {
	case i.githubEnv:
		err = a.appendGitHubEnv(gpgVariables(home, fingerprints))
	case a.ui.json:
		err = a.ui.document(struct {
			Home     string   `json:"homedir"`
			AgentPID string   `json:"agentPid"`
			Keys     []gpgRow `json:"keys"`
		}{home.Dir, result.AgentPID, gpgRows(keys)})
	default:
		err = a.ui.write([]byte(shellLines(home, fingerprints, i.homedir == "")))
		if isTerminal(a.ui.stdout) {
			a.ui.hint(`these lines are for the shell to evaluate: eval "$(signkit gpg init …)"`)
			a.ui.hint("to end what was just made: signkit gpg kill --homedir %s", shellQuote(home.Dir))
		}
	}
	if err != nil && i.homedir == "" {
		// Nobody knows of it.
		return errors.Join(err, home.End(context.WithoutCancel(ctx)))
	}
	return err
}

// gpgRow is one key in JSON documents.
type gpgRow struct {
	ID          string     `json:"id"`
	Fingerprint string     `json:"fingerprint"`
	Keygrip     string     `json:"keygrip"`
	UserID      string     `json:"userId"`
	Created     time.Time  `json:"created"`
	Expires     *time.Time `json:"expires,omitempty"`
}

func rowOfEntry(e keyfile.Entry) gpgRow {
	return gpgRow{e.ID(), e.Fingerprint, e.Keygrip, e.UserID, e.Created, e.Expires}
}

func gpgRows(keys []gnupghome.Key) []gpgRow {
	rows := []gpgRow{}
	for _, key := range keys {
		rows = append(rows, rowOfEntry(key.Entry))
	}
	return rows
}

// appendGitHubEnv adds variables for later steps (workflow commands of GitHub Actions, "Setting
// an environment variable"). No value has a line break: paths with one are refused.
func (a *app) appendGitHubEnv(variables []string) error {
	path := a.absolute(a.environment("GITHUB_ENV"))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("the file that GITHUB_ENV names: %w", err)
	}
	var b bytes.Buffer
	for _, variable := range variables {
		fmt.Fprintln(&b, variable)
	}
	_, werr := f.Write(b.Bytes())
	if err := errors.Join(werr, f.Close()); err != nil {
		return fmt.Errorf("writing %s (GITHUB_ENV): %w", filepath.Base(path), err)
	}
	return nil
}
