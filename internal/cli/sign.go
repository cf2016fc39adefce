package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"signkit/internal/artifact"
	"signkit/internal/pgpkey"
	"signkit/internal/signpath"
)

// signRequest is what sign was asked: the flags.
type signRequest struct {
	keys       []string
	publicKey  string
	filesFrom  string
	folder     string
	manifest   string
	root       string
	jobs       int
	timeout    time.Duration
	force, cms bool
	strict     bool
	plan       bool
	lists      artifact.Lists
	existing   string
	detached   bool
}

func newSignCommand(a *app) *cobra.Command {
	var r signRequest
	cmd := &cobra.Command{
		Use:   "sign FILE…",
		Short: "Sign files of any kind with the right tool for each",
		Long: `Sign files with the right tool for each, chosen by content:

` + formatTable() + `
For a mixed folder, give --key twice: a GPG key, and a key with an X.509 certificate. To use a policy
with an X.509 certificate as a GPG key, pass its public key (made by signkit gpg create) with
--public-key. Each result is checked with the format's own verifier before it replaces the file.
Folders, empty files, signatures and keys are left out with one line each, or refused with --strict.
The exit code is 0 only if all other files are signed and verified; the manifest is always written.
--plan shows what would be done.

Checksum lists (SHA256SUMS, app.sha256, checksums.txt …) are signed last, since signing changes the
files that they list, and only if they match by then and everything that they list is signed.
--update-checksums updates them first. With --output, a list goes into that folder too. A list that
cannot be read as a whole is refused; --detached signs it as it is. Debian's .changes and .buildinfo
are updated for everything that the call signs.

What the key has already signed is left alone; --force signs it again. Signatures of others are kept:
PE, jar and rpm format 6 (with rpm 6) can hold several, and ours is added; any other file is refused
before a signature is requested, and so is one whose FILE.asc, FILE.p7s, InRelease … was made by
somebody else. --existing chooses otherwise:

  keep     the default, as above; add is an explicit name for the same
  replace  remove the signatures of others
  skip     leave the file alone, status "skipped"

Files that other tools sign, such as Android or NuGet packages, are refused with the name of the
tool: nobody would look for a signature beside them. --detached makes one, for these and any other
file: FILE.asc or, with --cms, FILE.p7s.

SIGNKIT_TSA_URL names time-stamp authorities; if one fails, the next is tried.`,
		Example: `  signkit sign --key my-project/gpg-release dist/*.rpm
  signkit sign --key my-project/gpg-release --key my-project/release-signing --output signed dist/*
  find dist -type f -print0 | signkit sign --plan --files-from -`,
		Args: cobra.ArbitraryArgs, // a list may name all files
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.plan {
				return a.showPlan(cmd.Context(), &r, args)
			}
			return a.sign(cmd.Context(), &r, args)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&r.keys, "key", nil, "sign with `PROJECT/POLICY` (repeatable; default: the key in the settings)")
	flags.StringVar(&r.publicKey, "public-key", "", "`FILE` with the GPG public key, for a key whose policy has none")
	filesFlag(cmd, &r.filesFrom)
	flags.BoolVar(&r.plan, "plan", false, "show what would be signed, how and with which key; needs no credentials and changes nothing")
	flags.StringVarP(&r.folder, "output", "o", "", "put the results into `FOLDER` and leave the files alone")
	flags.IntVarP(&r.jobs, "jobs", "j", 4, "sign `N` files at a time")
	flags.DurationVar(&r.timeout, "timeout", defaultToolLimit,
		"end tools that take longer than `DURATION` for a file; for signing, the time of the service's retries comes on top")
	flags.BoolVar(&r.force, "force", false, "sign again what this key has already signed")
	flags.StringVar(&r.existing, "existing", string(artifact.KeepExisting), "what to do about signatures of others: `keep`, add, replace or skip")
	flags.BoolVar(&r.detached, "detached", false, "make a signature beside each file, whatever its format: FILE.asc or, with --cms, FILE.p7s")
	flags.BoolVar(&r.strict, "strict", false, "sign nothing if a folder, an empty file, a signature or a key is among the files")
	flags.BoolVar(&r.cms, "cms", false, "detached CMS signatures for files without a format of their own")
	flags.StringVar(&r.root, "root", "", "check new signatures against the roots in `FILE` (PEM) instead of the system's")
	flags.StringVar(&r.manifest, "manifest", "", "write files, digests, keys and signing requests to `FILE` (JSON)")
	flags.BoolVar(&r.lists.Update, "update-checksums", false, "update checksum lists before they are signed")
	ignoreMissingFlag(flags, &r.lists)
	a.jsonFlag(cmd)
	if err := cmd.RegisterFlagCompletionFunc("key", a.completeKeys); err != nil {
		panic(err) // the flag is not there: a mistake in the lines above
	}
	return cmd
}

// defaultToolLimit is how long a tool may take for one file. A large one takes a minute on a slow machine.
const defaultToolLimit = 5 * time.Minute

// formatTable is the part of the help that the rows of the table of formats give.
func formatTable() string {
	var b strings.Builder
	var rows [][]string
	for _, f := range artifact.Formats() {
		key := "X.509"
		if f.OpenPGP {
			key = "GPG"
		}
		rows = append(rows, []string{"  " + f.Files, key, f.Tool, f.Place()})
	}
	writeTable(&b, []string{"  FILES", "KEY", "TOOL", "SIGNATURE"}, rows)
	return b.String()
}

// sign signs, and writes the documents however that ends.
func (a *app) sign(ctx context.Context, r *signRequest, args []string) error {
	d := &signDocument{Version: documentVersion, Files: []signedFile{}, LeftOut: []leftOutFile{}}
	err := a.signFiles(ctx, r, args, d)
	d.end(err, a)
	if a.ui.json {
		err = errors.Join(err, a.ui.document(d))
	}
	return errors.Join(err, a.writeManifest(r.manifest, d))
}

func (a *app) signFiles(ctx context.Context, r *signRequest, args []string, d *signDocument) error {
	p, err := a.plan(ctx, r, args)
	d.addPlan(p, a)
	if err != nil {
		return err
	}
	if err := a.beginManifest(r.manifest, d); err != nil {
		return err
	}
	if p.folder != "" {
		if err := os.MkdirAll(p.folder, 0o777); err != nil {
			return withCode(exitUsage, fmt.Errorf("--output: %w", err))
		}
	}
	for _, file := range p.leftOut {
		if !file.Expected {
			a.ui.note("left out: %s %s", a.display(file.File), file.Reason)
		}
	}
	hands, err := a.hands(ctx, r, p.jobs)
	defer hands.close()
	if err != nil {
		return err
	}
	progress := a.ui.newProgress(len(p.jobs), "files")
	batch := &artifact.Batch{Hands: hands.list, Folder: p.folder, Force: r.force, Existing: artifact.Existing(r.existing), Done: func(result artifact.Result) {
		progress.step("%s: %s", a.display(result.File), outcome(result))
		for _, note := range result.Notes {
			a.ui.note("%s: %s", a.display(result.File), note)
		}
	}}
	results := batch.Run(ctx, p.jobs)
	progress.finish()
	d.addResults(results, hands, a)
	return batchError(ctx, results, a)
}

// check refuses flags that say nothing or contradict one another.
func (r *signRequest) check() error {
	choice := artifact.Existing(r.existing)
	if !slices.Contains(artifact.ExistingChoices(), choice) {
		return usageError("--existing %s: choose one of %v", r.existing, artifact.ExistingChoices())
	}
	if r.force && choice == artifact.SkipExisting {
		return usageError("--force signs again, --existing skip leaves alone: choose one")
	}
	return nil
}

func outcome(r artifact.Result) string {
	if r.Status != artifact.Failed {
		return strings.ReplaceAll(string(r.Status), "-", " ")
	}
	return "FAILED: " + strings.ReplaceAll(r.Err.Error(), "\n", "; ")
}

// handSet is the hands of a batch, and the keys they sign with.
type handSet struct {
	list          []*artifact.Hand
	openPGP, x509 *signpath.Key
	public        *pgpkey.Key // of openPGP, where --public-key names it
	root          string      // path of the roots of --root; empty: the system's

	mu       sync.Mutex
	homes    []func() // end what takes time, at the same time; before cleanups
	cleanups []func()
}

func (h *handSet) close() {
	var ends sync.WaitGroup
	for _, end := range h.homes {
		ends.Go(end)
	}
	ends.Wait()
	for _, cleanup := range h.cleanups {
		cleanup()
	}
}

// endsHome has a GNUPGHOME ended, nil for none.
func (h *handSet) endsHome(end func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if end != nil {
		h.homes = append(h.homes, end)
	}
}

// key is the one that signs files of a kind.
func (h *handSet) key(kind artifact.Kind) *signpath.Key {
	if kind.UsesOpenPGP() {
		return h.openPGP
	}
	return h.x509
}

// hands finds the keys that the files need and prepares as many hands as can be busy.
func (a *app) hands(ctx context.Context, r *signRequest, jobs []artifact.Job) (*handSet, error) {
	set := &handSet{}
	if err := a.readInputs(ctx, r, set); err != nil {
		return set, err
	}
	if _, err := a.agentClient(); err != nil { // the keys are read with the client that the tools sign through
		return set, err
	}
	if err := a.chooseKeys(ctx, r, set); err != nil {
		return set, err
	}
	if err := set.fits(jobs, a); err != nil {
		return set, err
	}
	var needPGP, needX509 bool
	for _, job := range jobs {
		needPGP = needPGP || job.Kind.UsesOpenPGP()
		needX509 = needX509 || !job.Kind.UsesOpenPGP()
	}
	cfg, err := a.config()
	if err != nil {
		return set, err
	}
	r.lists.Detached = r.detached
	prototype := artifact.Hand{
		Signer:   &artifact.Signer{Lists: r.lists, Limit: r.timeout + signpath.LongestCall(cfg.Timeouts)},
		Verifier: &artifact.Verifier{Lists: r.lists, Limit: r.timeout},
	}
	if needX509 {
		if err := a.prepareX509(ctx, set, &prototype); err != nil {
			return set, err
		}
	}
	var openPGP *gpgPreparation
	if needPGP {
		var err error
		if openPGP, err = a.prepareOpenPGP(ctx, set.openPGP, set.public); err != nil {
			return set, err
		}
		defer func() { set.cleanups = append(set.cleanups, openPGP.watcher.Close) }()
	}
	signs, err := a.startSignAgent(ctx, set.openPGP, set.x509)
	if err != nil {
		return set, err
	}
	set.cleanups = append(set.cleanups, func() {
		if err := signs.close(); err != nil {
			a.ui.warning("ending the agent: %v", err)
		}
	})
	for range min(r.jobs, len(jobs)) {
		hand, err := a.hand(set, prototype, signs)
		if err != nil {
			return set, err
		}
		set.list = append(set.list, hand)
	}
	if openPGP == nil {
		return set, nil
	}
	homes, ctx := errgroup.WithContext(ctx)
	for _, hand := range set.list {
		homes.Go(func() error { return a.giveHome(ctx, set, hand, openPGP) })
	}
	return set, homes.Wait()
}

// readInputs reads the files that flags name, once: each may be a pipe.
func (a *app) readInputs(ctx context.Context, r *signRequest, set *handSet) error {
	root, remove, err := a.keepInput(ctx, r.root)
	set.root, set.cleanups = root, append(set.cleanups, remove)
	if err != nil {
		return withCode(exitUsage, fmt.Errorf("--root: %w", err))
	}
	if r.publicKey != "" {
		set.public, err = a.readPublicKey(ctx, r.publicKey)
	}
	return err
}

// chooseKeys sorts the named keys by what they can sign. One whose GPG public key is named signs as
// a GPG key, and also as what it is where no other key does.
func (a *app) chooseKeys(ctx context.Context, r *signRequest, set *handSet) error {
	names, err := r.keyNames()
	if err == nil && len(names) == 0 {
		var name keyName
		if name, err = a.keyName(nil); err != nil {
			err = withHint(err, "--key PROJECT/POLICY names a key; signkit policies lists them")
		}
		names = []keyName{name}
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		key, err := a.key(ctx, name)
		if err != nil {
			return err
		}
		place := &set.x509
		if key.IsGPG() || set.public != nil && set.public.IsOf(key.Public()) {
			place = &set.openPGP
		}
		if *place != nil {
			return usageError("--key %s and --key %s are of the same type; one of each is needed", (*place).ID(), key.ID())
		}
		*place = key
		a.warnCertificate(key)
	}
	if set.public == nil {
		return nil
	}
	if set.openPGP == nil || !set.public.IsOf(set.openPGP.Public()) {
		return withHint(usageError("--public-key %s belongs to none of the named keys", r.publicKey),
			"the file holds another key; signkit gpg create makes the one of this")
	}
	if set.x509 == nil && !set.openPGP.IsGPG() {
		set.x509 = set.openPGP
	}
	return nil
}

// fits reports, before anything is signed, a file for which no key was named.
func (h *handSet) fits(jobs []artifact.Job, a *app) error {
	for _, job := range jobs {
		if h.key(job.Kind) != nil {
			continue
		}
		sort, hint := "a key with an X.509 certificate", "add --key PROJECT/POLICY; signkit policies shows which policy has what"
		if job.Kind.UsesOpenPGP() {
			sort, hint = "a GPG key", hint+"; --public-key FILE makes one of a key that has none at the service"
		}
		if job.Kind.Embedded() {
			hint += "; --detached makes a signature beside the file"
		}
		err := fmt.Errorf("%s (%s) needs %s, and none was named", a.display(job.File), job.Kind, sort)
		return withHint(withCode(exitUsage, &artifact.FileError{File: job.File, Err: err}), hint)
	}
	return nil
}

func (a *app) prepareX509(ctx context.Context, set *handSet, hand *artifact.Hand) error {
	if set.x509.Certificate() == nil {
		return withHint(fmt.Errorf("%s has no X.509 certificate", set.x509.ID()), "choose a signing policy that has one")
	}
	issuers, err := set.x509.Chain(ctx)
	if err != nil {
		a.ui.warning("signing without the issuers' certificates: %v", err)
	}
	chain := append([]*x509.Certificate{set.x509.Certificate()}, issuers...)
	module, found := installed("libsignkit-pkcs11.so")
	if !found {
		return withHint(fmt.Errorf("the PKCS#11 module is not at %s", module), "install signkit as a whole")
	}
	authorities, err := a.stampAuthorities(strings.Fields(a.environment(stampVariable)))
	if err != nil {
		return err
	}
	hand.Signer.X509 = &artifact.X509{Key: set.x509.ID(), Chain: chain, Module: module, Authorities: authorities}
	hand.Verifier.Chain, hand.Verifier.Roots, hand.Verifier.SystemRoots = chain, set.root, true
	hand.Verifier.TimeStamp = authorities != nil
	return nil
}

// hand completes a copy of the prototype, but for the GNUPGHOME. Each has sockets of its own to the agent.
func (a *app) hand(set *handSet, prototype artifact.Hand, signs *signAgent) (*artifact.Hand, error) {
	signer, verifier := *prototype.Signer, *prototype.Verifier
	folder, err := os.MkdirTemp(a.environment("TMPDIR"), "signkit-")
	if err != nil {
		return nil, fmt.Errorf("creating a folder for what is verified with: %w", err)
	}
	set.cleanups = append(set.cleanups, func() { os.RemoveAll(folder) })
	verifier.Cache = a.absolute(folder)
	events := &artifact.Events{}
	environ, err := signs.serve(events)
	if err != nil {
		return nil, err
	}
	signer.Environ, verifier.Environ = environ, environ
	return &artifact.Hand{Signer: &signer, Verifier: &verifier, Events: events}, nil
}

// giveHome gives a hand a GNUPGHOME whose bridge asks the agent through the sockets of that hand: gpg-agent tells nobody for whom
// it signs.
func (a *app) giveHome(ctx context.Context, set *handSet, hand *artifact.Hand, openPGP *gpgPreparation) error {
	home, end, err := a.openPGPHome(ctx, openPGP, hand.Signer.Environ)
	set.endsHome(end)
	if err != nil {
		return err
	}
	hand.Signer.OpenPGP, hand.Verifier.PublicKey = home, home.PublicKey
	return nil
}

// batchError is what the call ends with.
func batchError(ctx context.Context, results []artifact.Result, a *app) error {
	failed := 0
	var cause error
	for _, result := range results {
		if result.Err != nil {
			failed, cause = failed+1, result.Err
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed == 0:
		return nil
	case len(results) == 1:
		return withCode(failureCode(cause), fmt.Errorf("%s: %w", a.display(results[0].File), cause))
	}
	return withCode(exitIncomplete, fmt.Errorf("%d of %d files are not signed", failed, len(results)))
}

func failureCode(err error) int {
	if _, missing := errors.AsType[*artifact.MissingToolError](err); missing {
		return exitMissingTool
	}
	return exitCodeOf(err)
}
