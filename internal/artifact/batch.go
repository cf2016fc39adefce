package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Job is one file to sign.
type Job struct {
	File string // absolute
	Kind Kind
}

// Status says how a job ended.
type Status string

// The ends of a job.
const (
	Signed     Status = "signed"
	Skipped    Status = "skipped" // this key had signed it already
	Failed     Status = "failed"
	NotReached Status = "not-reached" // the batch ended before
)

// Result is what became of one file.
type Result struct {
	Job
	Status   Status
	Outputs  []string // files that carry the signature; for embedded signatures the signed file
	SHA256   string   // of the signed content: the new file where the signature is inside, else File; hex
	Requests []string // ids of the service's signing requests, where its log tells
	Notes    []string // what else whoever signed it should know
	Err      error    // of one that failed or was not reached
}

// Hand is one pair of hands of a batch: it does one job after the other.
type Hand struct {
	Signer   *Signer
	Verifier *Verifier
	Log      *RecordLog // where the records of its signatures appear; may be nil
}

// Batch signs many files at once.
type Batch struct {
	Hands  []*Hand      // as many files are signed at the same time
	Folder string       // of the results; empty: beside the file, or in its stead
	Force  bool         // sign also what this key has signed
	Done   func(Result) // called for each, one at a time, in the order of ending; may be nil
}

// Run signs every file, in any order, and returns the results in the order of the jobs. Each
// result has been verified before it takes its name, in one step; a file that fails stays as
// it was. After ctx has ended the rest is not reached, with its error.
func (b *Batch) Run(ctx context.Context, jobs []Job) []Result {
	results := make([]Result, len(jobs))
	next := make(chan int)
	var workers sync.WaitGroup
	var done sync.Mutex
	for _, hand := range b.Hands {
		workers.Go(func() {
			for i := range next {
				results[i] = b.one(ctx, hand, jobs[i])
				if b.Done != nil {
					done.Lock()
					b.Done(results[i])
					done.Unlock()
				}
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	workers.Wait()
	return results
}

func (b *Batch) one(ctx context.Context, hand *Hand, job Job) Result {
	result := Result{Job: job, Status: Failed}
	if result.Err = ctx.Err(); result.Err != nil {
		result.Status = NotReached
		return result
	}
	hand.Log.mark()
	skipped, err := b.sign(ctx, hand, &result)
	records := hand.Log.since()
	result.Requests = records.requests()
	switch {
	case err != nil:
		result.Err = records.explain(err)
	case skipped:
		result.Status = Skipped
	default:
		result.Status = Signed
	}
	return result
}

func (b *Batch) sign(ctx context.Context, hand *Hand, result *Result) (skipped bool, err error) {
	file, kind := result.File, result.Kind
	folder := b.Folder
	if folder == "" {
		folder = filepath.Dir(file)
	}
	before, err := readOriginal(ctx, file)
	if err != nil {
		return false, err
	}
	if !b.Force && hand.Verifier.Verify(ctx, kind, file, folder) == nil {
		// The folder of the results holds this file, too, and not what another one left there.
		if b.Folder != "" && kind.Embedded() {
			err = place(ctx, []Output{{file, filepath.Base(file)}}, before, folder)
		}
		return true, errors.Join(err, describe(ctx, result, folder))
	}
	// Tools work on copies in a folder of our own, where no name of theirs or of the user's matters.
	work, err := os.MkdirTemp("", "signkit-work-")
	if err != nil {
		return false, fmt.Errorf("making a folder to work in (TMPDIR names another place): %w", err)
	}
	defer os.RemoveAll(work)
	outputs, err := hand.Signer.Sign(ctx, kind, file, work)
	if err != nil {
		return false, err
	}
	signed := file
	if kind.Embedded() {
		signed = outputs[0].Path
	}
	if err := hand.Verifier.Verify(ctx, kind, signed, work); err != nil {
		return false, fmt.Errorf("verifying the new signature: %w", err)
	}
	if err := place(ctx, outputs, before, folder); err != nil {
		return false, err
	}
	if links := linksOf(before.info); links > 1 && b.Folder == "" && kind.Embedded() {
		result.Notes = append(result.Notes, fmt.Sprintf("the file had %d names; the others keep the unsigned content", links))
	}
	return false, describe(ctx, result, folder)
}

func linksOf(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink)
	}
	return 1
}

// describe notes the files that carry the signature, and the digest of what is signed.
func describe(ctx context.Context, result *Result, folder string) error {
	result.Outputs = result.Job.Outputs(folder)
	content := result.File
	if result.Kind.Embedded() {
		content = result.Outputs[0]
	}
	sum, err := digest(ctx, content)
	result.SHA256 = sum
	return err
}
