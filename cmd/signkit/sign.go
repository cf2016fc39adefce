package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"signkit/internal/artifact"
	"signkit/internal/config"
	"signkit/internal/signpath"
)

// signRequest is what sign was asked: the flags.
type signRequest struct {
	keys       []string
	folder     string
	manifest   string
	root       string
	jobs       int
	timeout    time.Duration
	force, cms bool
	strict     bool
}

func newSignCommand(a *app) *cobra.Command {
	var r signRequest
	cmd := &cobra.Command{
		Use:   "sign FILE…",
		Short: "Sign files of any kind with the tool that is made for them",
		Long: `Sign files with the tool that is made for them, chosen by their content:

  rpm                      rpmsign        signature in the package
  deb                      gpg            signature in the package, as by debsigs
  jar, war, ear            jarsigner      signature in the archive
  PE, MSI, CAB, PowerShell osslsigncode   signature in the file
  Release                  gpg            InRelease and Release.gpg beside it
  repomd.xml               gpg            repomd.xml.asc beside it
  anything else            gpg            FILE.asc beside it, or with --cms FILE.p7s by openssl

jar, PE, MSI, CAB, PowerShell and CMS take a key with an X.509 certificate, the others a GPG
key: give --key twice for a mixed folder. Each result is verified with the tool's own verifier
before it replaces the file. What the key has signed already is left alone. Folders, empty files,
signatures and keys are left out with a line each, or refused with --strict. The exit code is 0
only if all other files are signed and verified.

SIGNKIT_TSA_URL names time-stamp authorities; the next is tried when one fails.`,
		Example: `  signkit sign --key my-project/gpg-release dist/*.rpm
  signkit sign --key my-project/gpg-release --key my-project/release-signing --output signed dist/*`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.sign(cmd.Context(), &r, args) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&r.keys, "key", nil, "sign with `PROJECT/POLICY` (repeatable; default: the key the settings name)")
	flags.StringVarP(&r.folder, "output", "o", "", "put results into `FOLDER` and leave the files alone")
	flags.IntVarP(&r.jobs, "jobs", "j", 4, "sign `N` files at a time")
	flags.DurationVar(&r.timeout, "timeout", defaultToolLimit,
		"end tools that take longer than `DURATION` for a file; for signing, the time of the service's retries comes on top")
	flags.BoolVar(&r.force, "force", false, "sign also what this key has signed; take signatures of others away")
	flags.BoolVar(&r.strict, "strict", false, "sign nothing where a folder, an empty file, a signature or a key is among the files")
	flags.BoolVar(&r.cms, "cms", false, "detached CMS signatures for files of no special kind")
	flags.StringVar(&r.root, "root", "", "check new signatures against the roots in `FILE` (PEM) instead of the system's")
	flags.StringVar(&r.manifest, "manifest", "", "write files, digests, keys and signing requests to `FILE` (JSON)")
	a.jsonFlag(cmd)
	if err := cmd.RegisterFlagCompletionFunc("key", a.completeKeys); err != nil {
		panic(err) // the flag is not there: a mistake in the lines above
	}
	return cmd
}

// defaultToolLimit is how long a tool may take for one file. A large one takes a minute on a slow machine.
const defaultToolLimit = 5 * time.Minute

func (a *app) sign(ctx context.Context, r *signRequest, files []string) error {
	folder, err := a.resultFolder(r.folder)
	if err != nil {
		return err
	}
	jobs, leftOut, err := a.planFiles(files, folder, r.cms)
	if err != nil {
		return err
	}
	if r.strict || len(jobs) == 0 {
		if err := asError(leftOut); err != nil {
			return withCode(exitUsage, err)
		}
	}
	for _, file := range leftOut {
		a.ui.note("left out: %s %s", a.display(file.File), file.Reason)
	}
	hands, err := a.hands(ctx, r, jobs)
	defer hands.close()
	if err != nil {
		return err
	}
	progress := a.ui.newProgress(len(jobs), "files")
	batch := &artifact.Batch{Hands: hands.list, Folder: folder, Force: r.force, Done: func(result artifact.Result) {
		progress.step("%s: %s", a.display(result.File), outcome(result))
		for _, note := range result.Notes {
			a.ui.note("%s: %s", a.display(result.File), note)
		}
	}}
	results := batch.Run(ctx, jobs)
	progress.finish()
	return a.reportSigned(ctx, r, hands, results)
}

// resultFolder makes the folder of --output.
func (a *app) resultFolder(folder string) (string, error) {
	if folder == "" {
		return "", nil
	}
	folder = a.absolute(folder)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return "", withCode(exitUsage, fmt.Errorf("--output: %w", err))
	}
	return folder, nil
}

func outcome(r artifact.Result) string {
	if r.Status != artifact.Failed {
		return string(r.Status)
	}
	return "FAILED: " + strings.ReplaceAll(r.Err.Error(), "\n", "; ")
}

// handSet is the hands of a batch, and the keys they sign with.
type handSet struct {
	list          []*artifact.Hand
	openPGP, x509 *signpath.Key
	cleanups      []func()
}

func (h *handSet) close() {
	for _, cleanup := range h.cleanups {
		cleanup()
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
	if r.jobs < 1 {
		return set, usageError("--jobs %d: at least 1", r.jobs)
	}
	if r.timeout <= 0 {
		return set, usageError("--timeout %s: more than 0", r.timeout)
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
	prototype := artifact.Hand{
		Signer:   &artifact.Signer{Replace: r.force, Limit: r.timeout + signpath.LongestCall(cfg.Timeouts)},
		Verifier: &artifact.Verifier{Limit: r.timeout},
	}
	if needX509 {
		if err := a.prepareX509(ctx, r, set, &prototype); err != nil {
			return set, err
		}
	}
	var openPGP *gpgPreparation
	if needPGP {
		var err error
		if openPGP, err = a.prepareOpenPGP(ctx, set.openPGP); err != nil {
			return set, err
		}
		defer func() { set.cleanups = append(set.cleanups, openPGP.watcher.Close) }() // after the homes
	}
	for range min(r.jobs, len(jobs)) {
		hand, err := a.hand(ctx, set, prototype, openPGP)
		if err != nil {
			return set, err
		}
		set.list = append(set.list, hand)
	}
	return set, nil
}

// chooseKeys sorts the named keys by what they can sign.
func (a *app) chooseKeys(ctx context.Context, r *signRequest, set *handSet) error {
	names := r.keys
	if len(names) == 0 {
		name, err := a.keyName(nil)
		if err != nil {
			return withHint(err, "--key PROJECT/POLICY names a key; signkit policies lists them")
		}
		names = []string{name.String()}
	}
	for _, text := range names {
		name, err := parseKeyName(text)
		if err != nil {
			return err
		}
		key, err := a.key(ctx, name)
		if err != nil {
			return err
		}
		place := &set.x509
		if key.IsGPG() {
			place = &set.openPGP
		}
		if *place != nil {
			return usageError("--key %s and --key %s are of the same sort; one of each is needed", (*place).ID(), key.ID())
		}
		*place = key
		a.warnCertificate(key)
	}
	return nil
}

// fits reports, before anything is signed, a file for which no key was named.
func (h *handSet) fits(jobs []artifact.Job, a *app) error {
	for _, job := range jobs {
		if h.key(job.Kind) != nil {
			continue
		}
		sort := "a key with an X.509 certificate"
		if job.Kind.UsesOpenPGP() {
			sort = "a GPG key"
		}
		return withHint(usageError("%s (%s) needs %s, and none was named", a.display(job.File), job.Kind, sort),
			"add --key PROJECT/POLICY; signkit policies shows which policy has what")
	}
	return nil
}

func (a *app) prepareX509(ctx context.Context, r *signRequest, set *handSet, hand *artifact.Hand) error {
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
		return withHint(fmt.Errorf("the PKCS#11 module is not at %s", module), "install signkit completely")
	}
	authorities, err := a.stampAuthorities(strings.Fields(a.environment(stampVariable)))
	if err != nil {
		return err
	}
	hand.Signer.X509 = &artifact.X509{Key: set.x509.ID(), Chain: chain, Module: module, Authorities: authorities}
	hand.Verifier.Chain, hand.Verifier.Roots = chain, a.absolute(r.root)
	hand.Verifier.TimeStamp = authorities != nil
	return nil
}

// hand completes a copy of the prototype. Each has a GNUPGHOME and a folder for records of its
// own, so that what is recorded while it signs a file is of that file. The log that the
// settings ask for goes where they say.
func (a *app) hand(ctx context.Context, set *handSet, prototype artifact.Hand, openPGP *gpgPreparation) (*artifact.Hand, error) {
	signer, verifier := *prototype.Signer, *prototype.Verifier
	folder, err := os.MkdirTemp(a.environment("TMPDIR"), "signkit-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for records: %w", err)
	}
	set.cleanups = append(set.cleanups, func() { os.RemoveAll(folder) })
	folder = a.absolute(folder)
	environ := withRecords(a.environ, folder)
	if openPGP != nil {
		home, end, err := a.openPGPHome(ctx, openPGP, folder)
		if end != nil {
			set.cleanups = append(set.cleanups, end)
		}
		if err != nil {
			return nil, err
		}
		signer.OpenPGP, verifier.PublicKey = home, home.PublicKey
	}
	signer.Environ, verifier.Environ = environ, environ
	return &artifact.Hand{Signer: &signer, Verifier: &verifier, Log: &artifact.RecordLog{Folder: folder}}, nil
}

// withRecords lets programs that talk to the service record what they do in a folder.
func withRecords(environ []string, folder string) []string {
	return append(without(environ, config.RecordDirectoryVariable), config.RecordDirectoryVariable+"="+folder)
}

// signedFile is one file's part of the manifest and of the JSON document.
type signedFile struct {
	File     string          `json:"file"`
	Kind     artifact.Kind   `json:"kind"`
	Status   artifact.Status `json:"status"`
	Key      string          `json:"key"`
	Outputs  []string        `json:"outputs,omitempty"`
	SHA256   string          `json:"sha256,omitempty"`
	Requests []string        `json:"signing_requests,omitempty"`
	Notes    []string        `json:"notes,omitempty"`
	Error    string          `json:"error,omitempty"`
}

func (a *app) reportSigned(ctx context.Context, r *signRequest, hands *handSet, results []artifact.Result) error {
	list := make([]signedFile, 0, len(results))
	failed := 0
	var cause error
	for _, result := range results {
		row := signedFile{
			File: a.display(result.File), Kind: result.Kind, Status: result.Status, Key: hands.key(result.Kind).ID(),
			SHA256: result.SHA256, Requests: result.Requests, Notes: result.Notes,
		}
		for _, output := range result.Outputs {
			row.Outputs = append(row.Outputs, a.display(output))
		}
		if result.Err != nil {
			row.Error = result.Err.Error()
			failed, cause = failed+1, result.Err
		}
		list = append(list, row)
	}
	if err := a.writeManifest(r.manifest, list); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed == 0:
		return nil
	case len(results) == 1:
		return withCode(failureCode(cause), fmt.Errorf("%s: %w", list[0].File, cause))
	}
	return withCode(exitIncomplete, fmt.Errorf("%d of %d files are not signed", failed, len(results)))
}

func failureCode(err error) int {
	if _, missing := errors.AsType[*artifact.MissingToolError](err); missing {
		return exitMissingTool
	}
	return exitCodeOf(err)
}

func (a *app) writeManifest(path string, list []signedFile) error {
	if a.ui.json {
		if err := a.ui.document(list); err != nil {
			return err
		}
	}
	if path == "" {
		return nil
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if err := replaceFile(a.absolute(path), data, 0o666&^umask()); err != nil {
		return withHint(fmt.Errorf("writing the manifest %s: %w", filepath.Base(path), err), "--manifest names the file")
	}
	return nil
}
