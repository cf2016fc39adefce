package cli

import (
	"context"
	"errors"
	"os"
	"strings"

	"signkit/internal/artifact"
)

// signPlan is what sign is about to do: what is known without a key and without the service.
type signPlan struct {
	named   []string // as the call names them
	folder  string   // of the results; empty: beside the files
	seen    bool     // the files have been looked at: those without an error are jobs or left out
	jobs    []artifact.Job
	leftOut []*artifact.LeftOutError
}

// plan finds out what is to be signed. The plan says what is known also where the error is not nil.
func (a *app) plan(ctx context.Context, r *signRequest, args []string) (*signPlan, error) {
	p := &signPlan{named: args, folder: a.absolute(r.folder)}
	if r.jobs < 1 {
		return p, usageError("--jobs %d: must be at least 1", r.jobs)
	}
	if r.timeout <= 0 {
		return p, usageError("--timeout %s: must be more than 0", r.timeout)
	}
	if err := r.check(); err != nil {
		return p, err
	}
	var err error
	if p.named, err = a.namedFiles(ctx, r.filesFrom, args); err != nil {
		return p, err
	}
	p.seen = true
	files, former := a.withoutManifest(p.named, r.manifest)
	if p.jobs, p.leftOut, err = a.planFiles(files, p.folder, r.cms); err != nil {
		return p, err
	}
	p.leftOut = append(p.leftOut, former...)
	if r.detached {
		p.jobs = artifact.Detach(p.jobs, r.cms)
	}
	if p.jobs, err = a.withoutForeign(p.jobs); err != nil {
		return p, err
	}
	if r.strict || len(p.jobs) == 0 {
		return p, withCode(exitUsage, asError(p.leftOut))
	}
	return p, nil
}

// withoutManifest leaves out the manifest that an earlier call has left where this one will write its own.
func (a *app) withoutManifest(files []string, manifest string) (rest []string, former []*artifact.LeftOutError) {
	if manifest == "" {
		return files, nil
	}
	there, err := os.Stat(a.absolute(manifest))
	if err != nil {
		return files, nil
	}
	for _, file := range files {
		if info, err := os.Stat(a.absolute(file)); err == nil && os.SameFile(info, there) {
			former = append(former, &artifact.LeftOutError{File: a.absolute(file), Reason: "is the manifest of this call"})
			continue
		}
		rest = append(rest, file)
	}
	for _, file := range former {
		file.Expected = len(rest) > 0 // a call that names nothing else has nothing to sign
	}
	return rest, former
}

// showPlan is sign --plan: it tells what would be signed, asks nobody and changes nothing.
func (a *app) showPlan(ctx context.Context, r *signRequest, args []string) error {
	p, err := a.plan(ctx, r, args)
	var keys []keyName
	if err == nil {
		keys, err = a.plannedKeys(r)
	}
	if err == nil {
		err = a.enoughKeys(p, r, keys)
	}
	d := a.planDocument(p, keys, err)
	if a.ui.json {
		return errors.Join(err, a.ui.document(d))
	}
	var rows [][]string
	for _, f := range d.Files {
		if f.Kind != "" {
			key := strings.Join(d.Keys, " or ")
			if key == "" {
				key = "not named"
			}
			rows = append(rows, []string{f.File, string(f.Kind), key, f.Tool, strings.Join(f.Outputs, " ")})
		}
	}
	if len(rows) > 0 {
		a.ui.table([]string{"FILE", "FORMAT", "KEY", "TOOL", "RESULT"}, rows)
	}
	for _, f := range d.LeftOut {
		a.ui.line("left out: %s %s", f.File, f.Reason)
	}
	return err
}

// plannedKeys are the keys of the call, or that of the settings, which may be incomplete or wrong
// here: whoever plans need not be allowed to sign.
func (a *app) plannedKeys(r *signRequest) ([]keyName, error) {
	if len(r.keys) > 0 {
		return r.keyNames()
	}
	cfg, err := a.loadConfig()
	if err != nil {
		a.ui.warning("%v", err)
	}
	if cfg.ProjectSlug == "" || cfg.SigningPolicySlug == "" {
		return nil, nil
	}
	return []keyName{{Project: cfg.ProjectSlug, Policy: cfg.SigningPolicySlug}}, nil
}

// enoughKeys reports a mistake that shows whatever the keys are: one signs with GPG or has an X.509
// certificate, and does both only with a public key of its own.
func (a *app) enoughKeys(p *signPlan, r *signRequest, keys []keyName) error {
	if len(keys) != 1 || r.publicKey != "" {
		return nil
	}
	for _, job := range p.jobs[1:] {
		if first := p.jobs[0]; job.Kind.UsesOpenPGP() != first.Kind.UsesOpenPGP() {
			return withHint(usageError("%s (%s) and %s (%s) need keys of two types, and only one was named",
				a.display(first.File), first.Kind, a.display(job.File), job.Kind),
				"give --key twice: for a GPG key, and for a key with an X.509 certificate")
		}
	}
	return nil
}

// planDocument is the JSON document of a plan (docs/schemas/sign-plan.schema.json).
type planDocument struct {
	Version int           `json:"version"`
	Result  string        `json:"result"` // planned or failed
	Keys    []string      `json:"keys"`
	Files   []plannedFile `json:"files"`
	LeftOut []leftOutFile `json:"left_out"`
	Error   string        `json:"error,omitempty"`
}

// plannedFile is one file's part of the plan. What is not known is left out.
type plannedFile struct {
	File    string        `json:"file"`
	Kind    artifact.Kind `json:"kind,omitempty"`
	KeyType string        `json:"key_type,omitempty"` // openpgp or x509
	Key     string        `json:"key,omitempty"`      // where one key was named
	Tool    string        `json:"tool,omitempty"`
	Outputs []string      `json:"outputs,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// leftOutFile is a file that is named and not signed.
type leftOutFile struct {
	File   string `json:"file"`
	Reason string `json:"reason"`
}

func (a *app) planDocument(p *signPlan, keys []keyName, err error) *planDocument {
	d := &planDocument{Version: documentVersion, Result: "planned", Keys: []string{}, Files: []plannedFile{}, LeftOut: a.leftOutFiles(p.leftOut)}
	if err != nil {
		d.Result, d.Error = "failed", a.ui.redactor.Redact(err.Error())
	}
	for _, key := range keys {
		d.Keys = append(d.Keys, key.String())
	}
	for _, job := range p.jobs {
		row := plannedFile{File: a.display(job.File), Kind: job.Kind, KeyType: keyTypeOf(job.Kind), Tool: job.Kind.Tool()}
		if len(keys) == 1 {
			row.Key = keys[0].String()
		}
		for _, output := range job.Outputs(p.folder) {
			row.Outputs = append(row.Outputs, a.display(output))
		}
		d.Files = append(d.Files, row)
	}
	for _, failed := range fileErrors(err) {
		d.Files = append(d.Files, plannedFile{File: a.display(failed.File), Error: a.ui.redactor.Redact(failed.Error())})
	}
	return d
}

func (a *app) leftOutFiles(files []*artifact.LeftOutError) []leftOutFile {
	list := []leftOutFile{}
	for _, file := range files {
		list = append(list, leftOutFile{a.display(file.File), file.Reason})
	}
	return list
}

// keyTypeOf names the sort of key that a kind is signed with.
func keyTypeOf(kind artifact.Kind) string {
	if kind.UsesOpenPGP() {
		return "openpgp"
	}
	return "x509"
}

// fileErrors finds the errors about single files in one that joins them.
func fileErrors(err error) []*artifact.FileError {
	var list []*artifact.FileError
	walk(err, func(err error) {
		if e, ok := err.(*artifact.FileError); ok {
			list = append(list, e)
		}
	})
	return list
}

// keyNames are those of --key, at most one of each sort.
func (r *signRequest) keyNames() ([]keyName, error) {
	var names []keyName
	for _, text := range r.keys {
		name, err := parseKeyName(text)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if len(names) > 2 {
		return nil, usageError("--key is given %d times; at most two are needed: a GPG key and a key with an X.509 certificate", len(names))
	}
	return names, nil
}
