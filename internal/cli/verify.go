package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"signkit/internal/artifact"
	"signkit/internal/revocation"
)

// verifyRequest is what verify was asked: the flags.
type verifyRequest struct {
	publicKey, root, certificate, folder string
	filesFrom                            string
	timeStamp, cms, allowExpired         bool
	timeout                              time.Duration
	lists                                artifact.Lists
	detached                             bool
	checkRevocation                      bool
	revocationLists                      []string
}

func newVerifyCommand(a *app) *cobra.Command {
	var r verifyRequest
	cmd := &cobra.Command{
		Use:   "verify FILE…",
		Short: "Verify signed files with their formats' own tools and public material only",
		Long: `Verify signed files with the verifier of their format, recognised by content:

` + judgeTable() + `
Signatures are expected in the file or beside it, where signkit sign puts them. No credentials are
needed, and nothing is asked of the signing service.

OpenPGP signatures count only if made by a key in --public-key (signkit gpg export writes one) that is
neither revoked nor expired. Other signatures must be made by --certificate, or by a certificate that
chains to one in --root; what the machine trusts does not count. If no signer is named, the answer
says who signed, and is not "verified".

Revocation of certificates is not checked, and the answer says so, unless --check-revocation or --crl
is given: then the signer's certificate and those of its issuers must each be looked up in a current
revocation list of --crl, or else of the address that the certificate names.

Release, repomd.xml, .changes, .buildinfo, .dsc, and checksum lists (SHA256SUMS, app.sha256,
checksums.txt …) are verified together with the files that they list; a list that cannot be read as a
whole is refused. An InRelease needs no Release beside it.

Files that other tools sign, such as Android or NuGet packages, are refused with the name of the tool,
unless there is a FILE.asc (--cms: FILE.p7s) beside them. --detached checks that for any file, and for
a list that cannot be read, with a note.`,
		Example: `  signkit verify --public-key release.asc dist/*.rpm dist/app.tar.gz
  signkit verify --root ca.pem --timestamp setup.exe`,
		Args: cobra.ArbitraryArgs, // a list may name all files
		RunE: func(cmd *cobra.Command, args []string) error { return a.verify(cmd.Context(), &r, args) },
	}
	flags := cmd.Flags()
	filesFlag(cmd, &r.filesFrom)
	flags.StringVar(&r.publicKey, "public-key", "", "OpenPGP public keys in `FILE`")
	flags.BoolVar(&r.allowExpired, "allow-expired", false, "accept expired OpenPGP keys, for archives")
	flags.StringVar(&r.root, "root", "", "trust the certificates in `FILE` (PEM), all of them and no others")
	flags.StringVar(&r.certificate, "certificate", "", "the signer must be the first certificate in `FILE` (PEM); its chain may follow")
	flags.StringVar(&r.folder, "signatures", "", "look for detached signatures in `FOLDER` instead of beside each file")
	flags.BoolVar(&r.timeStamp, "timestamp", false, "require a time-stamp where the format has one")
	flags.DurationVar(&r.timeout, "timeout", defaultToolLimit, "end tools that take longer than `DURATION` for a file")
	flags.BoolVar(&r.cms, "cms", false, "verify FILE.p7s (CMS) for files without a format of their own")
	ignoreMissingFlag(flags, &r.lists)
	flags.BoolVar(&r.checkRevocation, "check-revocation", false, "look X.509 certificates up in revocation lists, downloaded where --crl has none")
	flags.StringArrayVar(&r.revocationLists, "crl", nil, "a revocation list for --check-revocation is in `FILE` (PEM or DER); repeatable")
	flags.BoolVar(&r.detached, "detached", false, "verify the signature beside each file, whatever its format: FILE.asc or, with --cms, FILE.p7s")
	a.jsonFlag(cmd)
	return cmd
}

// ignoreMissingFlag is called as that of sha256sum, which does the same.
func ignoreMissingFlag(flags *pflag.FlagSet, lists *artifact.Lists) {
	flags.BoolVar(&lists.IgnoreMissing, "ignore-missing", false, "skip missing files in checksum lists and in .changes, .buildinfo and .dsc")
}

// judgeTable is the part of the help that the rows of the table of formats give.
func judgeTable() string {
	var b strings.Builder
	var rows [][]string
	for _, f := range artifact.Formats() {
		rows = append(rows, []string{"  " + f.Files, f.Judge})
	}
	writeTable(&b, nil, rows)
	return b.String()
}

// verify verifies, and prints the document however that ends.
func (a *app) verify(ctx context.Context, r *verifyRequest, args []string) error {
	d := &verifyDocument{Version: documentVersion, Files: []verified{}, LeftOut: []leftOutFile{}}
	err := a.verifyFiles(ctx, r, args, d)
	if a.ui.json {
		d.end(err, a)
		return errors.Join(err, a.ui.document(d))
	}
	a.showVerified(d.Files)
	return err
}

// verifier makes one that knows what the flags name. The caller calls end after its last use.
func (r *verifyRequest) verifier(ctx context.Context, a *app) (_ *artifact.Verifier, end func(), err error) {
	v := &artifact.Verifier{Limit: r.timeout, AllowExpired: r.allowExpired, TimeStamp: r.timeStamp, Environ: a.environ, Lists: r.lists}
	var removes []func()
	end = func() {
		for _, remove := range removes {
			remove()
		}
	}
	v.Lists.Detached, v.InReleaseAlone = r.detached, true
	if r.timeout <= 0 {
		return nil, end, usageError("--timeout %s: must be more than 0", r.timeout)
	}
	cache, err := os.MkdirTemp(a.environment("TMPDIR"), "signkit-")
	if err != nil {
		return nil, end, fmt.Errorf("creating a working folder (TMPDIR names another place): %w", err)
	}
	removes = append(removes, func() { os.RemoveAll(cache) })
	v.Cache = a.absolute(cache)
	for _, input := range []struct {
		flag, path string
		kept       *string
	}{{"--public-key", r.publicKey, &v.PublicKey}, {"--root", r.root, &v.Roots}} {
		kept, remove, err := a.keepInput(ctx, input.path)
		removes = append(removes, remove)
		if err != nil {
			return nil, end, withCode(exitUsage, fmt.Errorf("%s: %w", input.flag, err))
		}
		*input.kept = kept
	}
	if r.checksRevocation() {
		lists := make([]string, 0, len(r.revocationLists))
		for _, list := range r.revocationLists {
			lists = append(lists, a.absolute(list))
		}
		if v.Revocation, err = revocation.New(lists); err != nil {
			return nil, end, withCode(exitUsage, fmt.Errorf("--crl: %w", err))
		}
	}
	if r.certificate == "" {
		return v, end, nil
	}
	v.Chain, err = readCertificates(a.absolute(r.certificate))
	if err != nil {
		return nil, end, withCode(exitUsage, fmt.Errorf("--certificate: %w", err))
	}
	return v, end, nil
}

func (r *verifyRequest) checksRevocation() bool {
	return r.checkRevocation || len(r.revocationLists) > 0
}

// readCertificates returns the certificates of a PEM file: the signer's, and those that follow.
func readCertificates(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s contains no PEM certificate", path)
	}
	return chain, nil
}

// verifyDocument is the JSON document of verify (docs/schemas/verify.schema.json).
type verifyDocument struct {
	Version int           `json:"version"`
	Result  string        `json:"result"` // verified, not-compared or not-verified
	Files   []verified    `json:"files"`
	LeftOut []leftOutFile `json:"left_out"`
	Error   string        `json:"error,omitempty"`
}

// verified is one file's row, and its part of the document.
type verified struct {
	File         string        `json:"file"`
	Kind         artifact.Kind `json:"kind,omitempty"` // empty where it is not known
	Verified     bool          `json:"verified"`
	SignedBy     string        `json:"signed_by,omitempty"`      // where nobody was named
	AlsoSignedBy string        `json:"also_signed_by,omitempty"` // what further signatures claim
	Notes        []string      `json:"notes,omitempty"`          // what "verified" does not say of this file
	Error        string        `json:"error,omitempty"`
}

func (d *verifyDocument) end(err error, a *app) {
	for _, failed := range fileErrors(err) {
		d.Files = append(d.Files, verified{File: a.display(failed.File), Error: failed.Error()})
	}
	switch {
	case err == nil:
		d.Result = "verified"
	case exitCodeOf(err) == exitNotCompared:
		d.Result = "not-compared"
	default:
		d.Result = "not-verified"
	}
	if err != nil {
		d.Error = err.Error()
	}
}

func (a *app) verifyFiles(ctx context.Context, r *verifyRequest, args []string, d *verifyDocument) error {
	v, end, err := r.verifier(ctx, a)
	defer end()
	if err != nil {
		return err
	}
	files, err := a.namedFiles(ctx, r.filesFrom, args)
	if err != nil {
		return err
	}
	jobs, leftOut, err := a.planFiles(files, "", r.cms)
	if !r.detached {
		jobs, leftOut = artifact.WithInRelease(jobs, leftOut)
	}
	d.LeftOut = a.leftOutFiles(leftOut)
	if err := withCode(exitUsage, errors.Join(err, asError(leftOut))); err != nil {
		return err // whoever asks about a file wants an answer
	}
	folderOf := func(file string) string {
		if r.folder != "" {
			return a.absolute(r.folder)
		}
		return filepath.Dir(file)
	}
	if r.detached {
		jobs = artifact.Detach(jobs, r.cms)
	}
	if jobs, err = a.withoutForeign(artifact.DetachForeign(jobs, r.cms, folderOf)); err != nil {
		return err
	}
	var failures []error
	for _, job := range jobs {
		var notes []string
		v.Lists.Note = func(text string) { notes = append(notes, text) }
		var others []string
		v.AlsoSigned = func(signer string) {
			if !slices.Contains(others, signer) {
				others = append(others, signer)
			}
		}
		err := v.Verify(ctx, job.Kind, job.File, folderOf(job.File))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && !job.Kind.UsesOpenPGP() && !r.checksRevocation() {
			notes = append(notes, "revocation not checked")
		}
		row := verified{File: a.display(job.File), Kind: job.Kind, Verified: err == nil, AlsoSignedBy: strings.Join(others, " and "), Notes: notes}
		if err != nil {
			row.Error, row.AlsoSignedBy = err.Error(), ""
			if other, ok := errors.AsType[*artifact.NotComparedError](err); ok {
				row.SignedBy = other.Signers
			}
			failures = append(failures, err)
		}
		d.Files = append(d.Files, row)
	}
	if len(failures) == 0 {
		return nil
	}
	return withCode(verifyCode(failures), fmt.Errorf("%d of %d files are not verified", len(failures), len(jobs)))
}

// verifyCode: a bad signature weighs more than a tool that is not there, and that more than a
// signer with whom nothing was compared.
func verifyCode(failures []error) int {
	code := exitNotCompared
	for _, err := range failures {
		_, missing := errors.AsType[*artifact.MissingToolError](err)
		_, other := errors.AsType[*artifact.NotComparedError](err)
		switch {
		case missing:
			code = exitMissingTool
		case !other:
			return exitUnverified
		}
	}
	return code
}

func (a *app) showVerified(results []verified) {
	var rows [][]string
	var colours []colour
	for _, r := range results {
		word, paint := "verified", green
		switch {
		case r.SignedBy != "":
			word, paint = r.Error, red
		case !r.Verified:
			word, paint = "FAILED: "+strings.ReplaceAll(r.Error, "\n", "; "), red
		default:
			notes := r.Notes
			if r.AlsoSignedBy != "" {
				notes = append([]string{"also signed by " + r.AlsoSignedBy + ", not checked"}, notes...)
			}
			if len(notes) > 0 {
				word += " (" + strings.Join(notes, "; ") + ")"
			}
		}
		rows = append(rows, []string{r.File, string(r.Kind), word})
		colours = append(colours, paint)
	}
	a.ui.statusTable(rows, colours)
}

// asError makes one error of files that are left out unexpectedly; nil where there are none.
func asError(leftOut []*artifact.LeftOutError) error {
	var all error
	for _, file := range leftOut {
		if !file.Expected {
			all = errors.Join(all, file)
		}
	}
	return all
}

// planFiles recognises files; one that is not there is a wrong call.
func (a *app) planFiles(files []string, folder string, cms bool) ([]artifact.Job, []*artifact.LeftOutError, error) {
	paths := make([]string, 0, len(files))
	for _, file := range files {
		paths = append(paths, a.absolute(file))
	}
	jobs, leftOut, err := artifact.Plan(paths, folder, cms)
	return jobs, leftOut, withCode(exitUsage, err)
}

// withoutForeign are the jobs that are no other tool's; the error is about those that are.
func (a *app) withoutForeign(jobs []artifact.Job) ([]artifact.Job, error) {
	ours, err := artifact.WithoutForeign(jobs, a.display)
	return ours, withCode(exitUsage, err)
}

// display shortens a path below the current directory.
func (a *app) display(path string) string {
	if short, err := filepath.Rel(a.directory, path); err == nil && filepath.IsLocal(short) {
		return short
	}
	return path
}
