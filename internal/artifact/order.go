package artifact

import (
	"fmt"
	"path/filepath"
	"slices"
)

// order says which jobs are done before which: what holds its signature inside first, since that
// changes the file, then what is signed beside, then lists, the inner ones before those that list them.
type order struct {
	stages [][]int // indexes of jobs
	needs  [][]int // for each job those whose results it lists
}

// arrange reads the lists among the files. One that cannot be read fails when it is signed.
func arrange(jobs []Job) *order {
	makes := map[string]int{} // path that a job writes: the job
	for i, job := range jobs {
		for _, name := range append(SignatureNames(job.Kind, job.File), filepath.Base(job.File)) {
			makes[filepath.Join(filepath.Dir(job.File), name)] = i
		}
	}
	o := &order{needs: make([][]int, len(jobs))}
	lists := make([]bool, len(jobs))
	for i, job := range jobs {
		list, err := job.Kind.list(job.File)
		if list == nil && err == nil {
			continue
		}
		lists[i] = true
		if list == nil {
			continue
		}
		for _, name := range list.names() {
			needed, found := makes[resolved(filepath.Join(filepath.Dir(job.File), name))]
			if found && needed != i && !slices.Contains(o.needs[i], needed) {
				o.needs[i] = append(o.needs[i], needed)
			}
		}
	}
	const firstList = 2
	stages := make([]int, len(jobs))
	var stage func(i int, path []int) int
	stage = func(i int, path []int) int {
		switch {
		case !lists[i] && jobs[i].Kind.Embedded():
			return 0
		case !lists[i]:
			return 1
		case stages[i] > 0:
			return stages[i]
		}
		at := firstList
		for _, needed := range o.needs[i] {
			if lists[needed] && !slices.Contains(path, needed) { // two lists may list each other
				at = max(at, stage(needed, append(path, i))+1)
			}
		}
		stages[i] = at
		return at
	}
	for i := range jobs {
		at := stage(i, nil)
		for len(o.stages) <= at {
			o.stages = append(o.stages, nil)
		}
		o.stages[at] = append(o.stages[at], i)
	}
	return o
}

// missed is the error for a list of which a file has failed: a list is signed when all that it lists
// is, as it will be. The digest of a file that stayed as it was may be true, but the next call
// changes that file, and whoever finds a signed list takes the release for complete.
func (o *order) missed(i int, results []Result) error {
	for _, needed := range o.needs[i] {
		if results[needed].Status == Failed {
			return fmt.Errorf("not signed, since %s, which it lists, is not", filepath.Base(results[needed].File))
		}
	}
	return nil
}

// made maps the files that a list names, as far as jobs have made them, to where they lie.
func (o *order) made(i int, results []Result) map[string]string {
	made := map[string]string{}
	for _, needed := range o.needs[i] {
		r := results[needed]
		made[r.File] = r.content
		for _, output := range r.Outputs {
			if name := filepath.Base(output); name != filepath.Base(r.File) {
				made[filepath.Join(filepath.Dir(r.File), name)] = output
			}
		}
	}
	return made
}
