package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"signkit/internal/artifact"
)

// documentVersion is that of the JSON documents of sign and verify. It changes where a reader of the
// last one would be wrong, not where a field is added. docs/schemas has their schemas.
const documentVersion = 1

// signDocument is the manifest, and the JSON document of sign (docs/schemas/sign-manifest.schema.json).
// There is one however signing ends: an old one must not speak for files that failed now.
type signDocument struct {
	Version int           `json:"version"`
	Result  string        `json:"result"` // signed, incomplete or failed
	Files   []signedFile  `json:"files"`
	LeftOut []leftOutFile `json:"left_out"`
	Error   string        `json:"error,omitempty"`
}

// signedFile is one file's part of it.
type signedFile struct {
	File     string          `json:"file"`
	Kind     artifact.Kind   `json:"kind,omitempty"` // empty where it is not known
	Status   artifact.Status `json:"status"`
	Key      string          `json:"key,omitempty"` // empty where signing did not begin
	Outputs  []string        `json:"outputs,omitempty"`
	SHA256   string          `json:"sha256,omitempty"`
	Requests []string        `json:"signing_requests,omitempty"`
	Notes    []string        `json:"notes,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// addPlan has the files that are to be signed; none is reached yet.
func (d *signDocument) addPlan(p *signPlan, a *app) {
	d.LeftOut = a.leftOutFiles(p.leftOut)
	for _, job := range p.jobs {
		d.Files = append(d.Files, signedFile{File: a.display(job.File), Kind: job.Kind, Status: artifact.NotReached})
	}
	if p.seen {
		return
	}
	for _, file := range p.named {
		d.Files = append(d.Files, signedFile{File: a.display(a.absolute(file)), Status: artifact.NotReached})
	}
}

// addResults replaces what the plan said by what became of it.
func (d *signDocument) addResults(results []artifact.Result, hands *handSet, a *app) {
	d.Files = d.Files[:0]
	for _, result := range results {
		row := signedFile{
			File: a.display(result.File), Kind: result.Kind, Status: result.Status, Key: hands.key(result.Kind).ID(),
			SHA256: result.SHA256, Requests: result.Requests, Notes: result.Notes,
		}
		for _, output := range result.Outputs {
			row.Outputs = append(row.Outputs, a.display(output))
		}
		if result.Err != nil {
			row.Error = a.ui.redactor.Redact(result.Err.Error())
		}
		d.Files = append(d.Files, row)
	}
}

// end sums up, with the error that signing ended with.
func (d *signDocument) end(err error, a *app) {
	for _, failed := range fileErrors(err) {
		row := signedFile{File: a.display(failed.File), Status: artifact.Failed, Error: a.ui.redactor.Redact(failed.Error())}
		i := slices.IndexFunc(d.Files, func(f signedFile) bool { return f.File == row.File })
		if i < 0 {
			d.Files = append(d.Files, row)
			continue
		}
		d.Files[i].Status, d.Files[i].Error = row.Status, row.Error
	}
	signed := slices.ContainsFunc(d.Files, func(f signedFile) bool {
		return f.Status == artifact.Signed || f.Status == artifact.Skipped
	})
	switch {
	case err == nil:
		d.Result = "signed"
	case signed:
		d.Result = "incomplete"
	default:
		d.Result = "failed"
	}
	d.Error = ""
	if err != nil {
		d.Error = a.ui.redactor.Redact(err.Error())
	}
}

// beginManifest lets the file say that nothing is signed, until something is: so it does after a call
// that was killed, and a place that cannot be written to is known before a signature is asked for.
func (a *app) beginManifest(path string, d *signDocument) error {
	if info, err := os.Stat(a.absolute(path)); err == nil && !info.Mode().IsRegular() {
		return nil // a pipe takes one document
	}
	d.Result, d.Error = "failed", "signing has not ended"
	return a.writeManifest(path, d)
}

// writeManifest writes the document to the file that the call names, if it does.
func (a *app) writeManifest(path string, d *signDocument) error {
	if path == "" {
		return nil
	}
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if err := replaceFile(a.absolute(path), data, 0o666&^umask()); err != nil {
		return withHint(fmt.Errorf("writing the manifest %s: %w", filepath.Base(path), err), "--manifest names the file")
	}
	return nil
}
