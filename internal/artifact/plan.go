package artifact

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// fileSigned returns the file of which path is the detached signature, going by names; empty if it is none.
func fileSigned(path string) string {
	dir, name := filepath.Split(path)
	if name == "InRelease" || name == "Release.gpg" {
		return filepath.Join(dir, "Release")
	}
	for _, ending := range []string{".asc", ".p7s"} {
		if file, ok := strings.CutSuffix(name, ending); ok && file != "" {
			return filepath.Join(dir, file)
		}
	}
	return ""
}

// FileError is an error about one file of several.
type FileError struct {
	File string
	Err  error // says which file it is about
}

func (e *FileError) Error() string { return e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

// Outputs are the files that carry the signature once the job is done: those beside the file, or for
// embedded signatures the file itself, in the folder of results or, where that is empty, in its own.
func (j Job) Outputs(folder string) []string {
	if folder == "" {
		folder = filepath.Dir(j.File)
	}
	names := SignatureNames(j.Kind, j.File)
	if j.Kind.Embedded() {
		names = []string{filepath.Base(j.File)}
	}
	var paths []string
	for _, name := range names {
		paths = append(paths, filepath.Join(folder, name))
	}
	return paths
}

// Plan resolves and recognises files before anything is signed. A file named twice is one
// job. What nobody means to sign is left out, with the reason; that is expected of a detached signature
// whose file is named, too: dist/* holds both from the second run on. With cms, what is for no other tool gets a detached CMS
// signature. A .changes or .buildinfo brings those of Debian's control files that it lists.
// What another tool signs is a job of the kind Foreign: see Detach and WithoutForeign.
// folder is that of the results, or empty: two files must not become one there.
// The error is a *FileError, or several joined.
func Plan(files []string, folder string, cms bool) (jobs []Job, leftOut []*LeftOutError, err error) {
	var problems []error
	var paths []string
	for _, file := range files {
		// A link keeps pointing to the file: the file is replaced, not the link.
		resolved, err := filepath.EvalSymlinks(file)
		if err == nil {
			resolved, err = filepath.Abs(resolved)
		}
		if err != nil {
			problems = append(problems, &FileError{file, err})
			continue
		}
		paths = append(paths, resolved)
	}
	names := map[string]string{}
	for _, resolved := range withUploadParts(paths) {
		if slices.ContainsFunc(jobs, func(j Job) bool { return j.File == resolved }) {
			continue
		}
		if signed := fileSigned(resolved); slices.Contains(paths, signed) {
			reason := "is the signature of " + filepath.Base(signed) + ", which is named, too"
			leftOut = append(leftOut, &LeftOutError{File: resolved, Reason: reason, Expected: true})
			continue
		}
		kind, err := Detect(resolved)
		if other, ok := errors.AsType[*LeftOutError](err); ok {
			leftOut = append(leftOut, other)
			continue
		}
		if err != nil && kind != Foreign { // which may be asked to be signed beside: see Detach
			problems = append(problems, &FileError{resolved, err})
			continue
		}
		if kind == Plain && cms {
			kind = CMS
		}
		base := filepath.Base(resolved)
		if other, taken := names[base]; taken && folder != "" {
			err := fmt.Errorf("%s and %s would both become %s", other, resolved, filepath.Join(folder, base))
			problems = append(problems, &FileError{resolved, err})
			continue
		}
		names[base] = resolved
		jobs = append(jobs, Job{resolved, kind})
	}
	return jobs, leftOut, errors.Join(problems...)
}
