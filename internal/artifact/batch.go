package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	Skipped    Status = "skipped" // this key had signed it already, or somebody else, whose signature stays alone
	Failed     Status = "failed"
	NotReached Status = "not-reached" // the batch ended before
)

// Result is what became of one file.
type Result struct {
	Job
	Status   Status
	Outputs  []string // files that carry the signature; for embedded signatures the signed file
	SHA256   string   // of the signed content: the new file where the signature is inside, else File; hex
	Requests []string // ids of the service's signing requests
	Notes    []string // what else whoever signed it should know
	Err      error    // of one that failed or was not reached

	content string // where what is signed lies now
}

func (r *Result) note(text string) {
	if text != "" {
		r.Notes = append(r.Notes, text)
	}
}

// Hand is one pair of hands of a batch: it does one job after the other.
type Hand struct {
	Signer   *Signer
	Verifier *Verifier
	Events   *Events // of its signatures; may be nil
}

// Batch signs many files at once.
type Batch struct {
	Hands    []*Hand      // as many files are signed at the same time
	Folder   string       // of the results; empty: beside the file, or in its stead
	Force    bool         // sign also what this key has signed
	Existing Existing     // what becomes of files that others have signed; empty: KeepExisting
	Done     func(Result) // called for each, one at a time, in the order of ending; may be nil
}

// Run signs every file and returns the results in the order of the jobs. What a list names is done
// before the list is; the rest is done in any order. Each result has been verified before it takes
// its name, in one step; a file that fails stays as it was, and a list of it, too. After ctx has
// ended the rest is not reached, with its error.
func (b *Batch) Run(ctx context.Context, jobs []Job) []Result {
	results := make([]Result, len(jobs))
	order := arrange(jobs)
	for _, stage := range order.stages {
		b.stage(stage, func(hand *Hand, i int) Result {
			result := Result{Job: jobs[i], Status: Failed}
			if result.Err = ctx.Err(); result.Err != nil {
				result.Status = NotReached
			} else if result.Err = order.missed(i, results); result.Err == nil {
				b.one(ctx, hand, &result, order.made(i, results))
			}
			results[i] = result
			return result
		})
	}
	return results
}

// stage does some jobs, one at a time with each pair of hands.
func (b *Batch) stage(jobs []int, do func(hand *Hand, i int) Result) {
	next := make(chan int)
	var workers sync.WaitGroup
	var done sync.Mutex
	for _, hand := range b.Hands {
		workers.Go(func() {
			for i := range next {
				result := do(hand, i)
				if b.Done != nil {
					done.Lock()
					b.Done(result)
					done.Unlock()
				}
			}
		})
	}
	for _, i := range jobs {
		next <- i
	}
	close(next)
	workers.Wait()
}

// one does a job. made is what those have made whose files it lists.
func (b *Batch) one(ctx context.Context, hand *Hand, result *Result, made map[string]string) {
	hand.Events.take() // what still came of the last one
	skipped, err := b.sign(ctx, b.forLists(hand, result, made), result)
	events := hand.Events.take()
	result.Requests = events.requests()
	switch {
	case err != nil:
		result.Err = events.explain(err)
	case skipped:
		result.Status = Skipped
	default:
		result.Status = Signed
	}
}

// forLists are the hand's signer and verifier for one file: what it lists is looked for among the
// results of this call, then in the folder of results, then beside it.
func (b *Batch) forLists(hand *Hand, result *Result, made map[string]string) *Hand {
	signer, verifier := *hand.Signer, *hand.Verifier
	folders := []string{filepath.Dir(result.File)}
	if b.Folder != "" {
		folders = []string{b.Folder, folders[0]}
	}
	for _, lists := range []*Lists{&signer.Lists, &verifier.Lists} {
		lists.folders, lists.results = folders, made
	}
	signer.Lists.Note = result.note
	return &Hand{Signer: &signer, Verifier: &verifier, Events: hand.Events}
}

func (b *Batch) sign(ctx context.Context, hand *Hand, result *Result) (skipped bool, err error) {
	file, kind := result.File, result.Kind
	folder := b.Folder
	if folder == "" {
		folder = filepath.Dir(file)
	}
	into, err := openFolder(folder)
	if err != nil {
		return false, err
	}
	defer into.Close()
	before, err := readOriginal(ctx, file)
	if err != nil {
		return false, err
	}
	list, err := kind.list(file)
	if err != nil {
		return false, err
	}
	// The folder of the results holds what is signed inside, and lists, which may say what those are now.
	moves := b.Folder != "" && (kind.Embedded() || list != nil)
	own := Output{file, filepath.Base(file)}
	var signer *Signer // none: the file is left alone
	var note string
	if b.Force || hand.Verifier.Verify(ctx, kind, file, folder) != nil {
		if signer, note, err = b.meet(ctx, hand, kind, file, folder); err != nil {
			return false, err
		}
	}
	if signer == nil {
		if moves { // and not what another call left there
			err = place(ctx, []Output{own}, before, into)
		}
		result.note(note)
		return true, errors.Join(err, describe(ctx, result, folder, moves))
	}
	// Tools work on copies in a folder of our own, where no name of theirs or of the user's matters.
	work, err := os.MkdirTemp("", "signkit-work-")
	if err != nil {
		return false, fmt.Errorf("creating a working folder (TMPDIR names another place): %w", err)
	}
	defer os.RemoveAll(work)
	outputs, err := signer.Sign(ctx, kind, file, work)
	if err != nil {
		return false, err
	}
	if moves && !slices.ContainsFunc(outputs, own.sameName) {
		outputs = append(outputs, own)
	}
	signed := file
	if i := slices.IndexFunc(outputs, own.sameName); i >= 0 {
		signed = outputs[i].Path
	}
	hand.Verifier.Lists.checked = true // by the signer, a moment ago
	if err := hand.Verifier.Verify(ctx, kind, signed, work); err != nil {
		return false, fmt.Errorf("verifying the new signature: %w", err)
	}
	if err := place(ctx, outputs, before, into); err != nil {
		return false, err
	}
	result.note(note)
	if links := linksOf(before.info); links > 1 && b.Folder == "" && kind.Embedded() {
		result.note(fmt.Sprintf("the file had %d names; the others keep the unsigned content", links))
	}
	return false, describe(ctx, result, folder, signed != file)
}

func linksOf(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink)
	}
	return 1
}

// describe notes the files that carry the signature, and the digest of what is signed. moved: that
// is a new file in the folder.
func describe(ctx context.Context, result *Result, folder string, moved bool) error {
	result.Outputs = result.Job.Outputs(folder)
	result.content = result.File
	if moved {
		result.content = filepath.Join(folder, filepath.Base(result.File))
	}
	sum, err := digest(ctx, result.content)
	result.SHA256 = sum
	return err
}
