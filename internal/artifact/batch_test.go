package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"signkit/internal/event"
)

// TestBatchSignsInPlaceAndSkipsWhatIsSigned: a second run changes nothing, a third with Force signs again.
func TestBatchSignsInPlaceAndSkipsWhatIsSigned(t *testing.T) {
	need(t, "rpmsign", "rpmkeys", "rpmbuild")
	key := softKey(t, "ours")
	dir := t.TempDir()
	rpm := filepath.Join(dir, "demo.rpm")
	if err := copyFile(deadline(t), rpmPackage(t), rpm); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a.tar.gz"), "content\n")
	batch := &Batch{Hands: []*Hand{hand(key), hand(key)}}
	jobs := plan(t, "", rpm, filepath.Join(dir, "a.tar.gz"))
	wantStatus(t, batch.Run(deadline(t), jobs), Signed, Signed)
	before := tree(t, dir)
	if want := []string{"a.tar.gz", "a.tar.gz.asc", "demo.rpm"}; !slices.Equal(names(before), want) {
		t.Errorf("the folder holds %v, want %v", names(before), want)
	}
	wantStatus(t, batch.Run(deadline(t), jobs), Skipped, Skipped)
	if after := tree(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("skipping changed files")
	}
	batch.Force = true
	wantStatus(t, batch.Run(deadline(t), jobs), Signed, Signed)
}

// TestBatchWithFolderLeavesTheInputAlone: results and nothing else are in the folder.
func TestBatchWithFolderLeavesTheInputAlone(t *testing.T) {
	need(t, "debsigs", "debsig-verify", "dpkg-deb")
	key := softKey(t, "ours")
	deb, out := debPackage(t), t.TempDir()
	text := textFile(t, "app.tar.gz", "content\n")
	original, err := digest(deadline(t), deb)
	if err != nil {
		t.Fatal(err)
	}
	results := (&Batch{Hands: []*Hand{hand(key)}, Folder: out}).Run(deadline(t), plan(t, out, deb, text))
	wantStatus(t, results, Signed, Signed)
	if now, err := digest(deadline(t), deb); now != original || err != nil {
		t.Errorf("the input changed (%v)", err)
	}
	if got, want := names(tree(t, out)), []string{"app.tar.gz.asc", "demo_1_all.deb"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
	if want, err := digest(deadline(t), filepath.Join(out, "demo_1_all.deb")); results[0].SHA256 != want || err != nil {
		t.Errorf("SHA256 = %s, want that of the signed package, %s (%v)", results[0].SHA256, want, err)
	}
	// Once more: whether a package there is the signed form of this one, nobody knows; a detached signature tells.
	wantStatus(t, (&Batch{Hands: []*Hand{hand(key)}, Folder: out}).Run(deadline(t), plan(t, out, deb, text)), Signed, Skipped)
}

// TestBatchReportsEachFailureAndGoesOn: the bad file stays as it was, the good ones are signed.
func TestBatchReportsEachFailureAndGoesOn(t *testing.T) {
	need(t, "rpmsign")
	key := softKey(t, "ours")
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.rpm")
	write(t, bad, "\xed\xab\xee\xdb and no more")
	write(t, filepath.Join(dir, "good.tar"), "content\n")
	var done []string
	batch := &Batch{Hands: []*Hand{hand(key)}, Done: func(r Result) { done = append(done, filepath.Base(r.File)) }}
	results := batch.Run(deadline(t), plan(t, "", bad, filepath.Join(dir, "good.tar")))
	wantStatus(t, results, Failed, Signed)
	if len(done) != 2 {
		t.Errorf("Done was called for %v", done)
	}
	if _, tool := errors.AsType[*ToolError](results[0].Err); !tool {
		t.Errorf("Err = %v, want that of rpmsign", results[0].Err)
	}
	if got, want := names(tree(t, dir)), []string{"bad.rpm", "good.tar", "good.tar.asc"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
}

func TestBatchThatIsInterruptedSignsNoMore(t *testing.T) {
	ctx, cancel := context.WithCancel(deadline(t))
	cancel()
	file := textFile(t, "a.tar", "content\n")
	results := (&Batch{Hands: []*Hand{{}}}).Run(ctx, plan(t, "", file))
	if results[0].Status != NotReached || !errors.Is(results[0].Err, context.Canceled) {
		t.Errorf("result = %+v", results[0])
	}
}

func TestPlanRefusesBeforeAnythingIsSigned(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "x.bin"), name)
	}
	first, second := filepath.Join(dir, "a", "x.bin"), filepath.Join(dir, "b", "x.bin")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(first, link); err != nil {
		t.Fatal(err)
	}
	if jobs := plan(t, "", first, first, link, second); len(jobs) != 2 {
		t.Errorf("two files, one of them named thrice, are %d jobs", len(jobs))
	}
	write(t, first+".asc", "signature")
	if jobs := plan(t, "", first, first+".asc"); len(jobs) != 1 {
		t.Errorf("a file and its signature are %d jobs", len(jobs))
	}
	if _, leftOut, err := Plan([]string{first, first + ".asc"}, "", false); err != nil || len(leftOut) != 1 || !leftOut[0].Expected ||
		leftOut[0].Reason != "is the signature of x.bin, which is named, too" {
		t.Errorf("a file and its signature: %v, %v", leftOut, err)
	}
	if jobs, leftOut, err := Plan([]string{first + ".asc"}, "", false); err != nil || len(jobs) != 0 || len(leftOut) != 1 || leftOut[0].Expected ||
		!strings.Contains(leftOut[0].Error(), "name the file that is signed") {
		t.Errorf("a signature without its file: %v, %v, %v", jobs, leftOut, err)
	}
	if _, _, err := Plan([]string{first, second}, dir, false); err == nil || !strings.Contains(err.Error(), "would both become") {
		t.Errorf("two results of one name: %v", err)
	}
	if jobs, leftOut, err := Plan([]string{first, filepath.Join(dir, "missing"), dir}, "", false); err == nil || len(jobs) != 1 ||
		!strings.Contains(err.Error(), "no such file") || len(leftOut) != 1 || !strings.Contains(leftOut[0].Error(), "is a folder") {
		t.Errorf("a missing file and a folder: %v, %v, %v", jobs, leftOut, err)
	}
	_, _, err := Plan([]string{first, filepath.Join(dir, "missing"), second}, dir, false)
	var about []string
	for _, problem := range err.(interface{ Unwrap() []error }).Unwrap() {
		if e, ok := problem.(*FileError); ok {
			about = append(about, e.File)
		}
	}
	if want := []string{filepath.Join(dir, "missing"), second}; !slices.Equal(about, want) {
		t.Errorf("the errors are about %v, want %v", about, want)
	}
	if jobs, _, err := Plan([]string{first}, "", true); err != nil || jobs[0].Kind != CMS {
		t.Errorf("with cms: %v, %v", jobs, err)
	}
}

// TestPlannedOutputsAreThoseOfTheBatch: a plan names the files that signing makes.
func TestPlannedOutputsAreThoseOfTheBatch(t *testing.T) {
	for kind, want := range map[Kind][]string{
		Deb: {"a"}, Jar: {"a"}, AptRelease: {"InRelease", "Release.gpg"}, YumIndex: {"a.asc"}, DebianUpload: {"a"}, Plain: {"a.asc"}, CMS: {"a.p7s"},
	} {
		for folder, prefix := range map[string]string{"": "/in", "/out": "/out"} {
			got := Job{"/in/a", kind}.Outputs(folder)
			for i, name := range want {
				if i >= len(got) || got[i] != filepath.Join(prefix, name) || len(got) != len(want) {
					t.Errorf("%s in %q: %v, want %v in %s", kind, folder, got, want, prefix)
					break
				}
			}
		}
	}
}

// TestEventsOfOneFileAreTold gives what was recorded while one file was signed, and no more.
func TestEventsOfOneFileAreTold(t *testing.T) {
	var list Events
	list.Record(event.Event{RequestID: "old"})
	list.take()
	list.Record(event.Event{RequestID: "0f-1"})
	list.Record(event.Event{Error: "status 403: not a submitter"})
	got := list.take()
	if ids := got.requests(); !slices.Equal(ids, []string{"0f-1"}) {
		t.Errorf("requests = %v", ids)
	}
	if left := list.take(); len(left) > 0 {
		t.Errorf("told twice: %+v", left)
	}
	err := got.explain(&ToolError{Tool: "gpg", Cause: "signing failed"})
	if err.Error() != "gpg: signing failed: status 403: not a submitter" {
		t.Errorf("explain = %v", err)
	}
	if plain := errors.New("other"); got.explain(plain) != plain {
		t.Error("an error that is no tool's is explained by an event")
	}
}

func hand(key *OpenPGP) *Hand {
	return &Hand{Signer: &Signer{OpenPGP: key, Environ: os.Environ()}, Verifier: &Verifier{PublicKey: key.PublicKey, Environ: os.Environ()}}
}

func plan(t *testing.T, folder string, files ...string) []Job {
	t.Helper()
	jobs, _, err := Plan(files, folder, false)
	if err != nil {
		t.Fatal(err)
	}
	return jobs
}

func wantStatus(t *testing.T, results []Result, want ...Status) {
	t.Helper()
	for i, result := range results {
		if result.Status != want[i] {
			t.Errorf("%s: %s (%v), want %s", filepath.Base(result.File), result.Status, result.Err, want[i])
		}
		if result.Status != Failed && (len(result.SHA256) != 64 || len(result.Outputs) == 0) {
			t.Errorf("%s: incomplete result %+v", filepath.Base(result.File), result)
		}
	}
}

// tree maps the names in a folder to digests.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		sum, err := digest(deadline(t), filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = sum
	}
	return files
}

func names(files map[string]string) []string {
	var list []string
	for name := range files {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
