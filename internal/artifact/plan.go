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

// Plan resolves and recognises files before anything is signed. A file named twice is one
// job. A detached signature is dropped where its file is named, too: dist/* holds both from the second run on. What nobody
// means to sign is left out, with the reason. With cms, what is for no other tool gets a detached CMS
// signature. folder is that of the results, or empty: two files must not become one there.
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
			problems = append(problems, err)
			continue
		}
		paths = append(paths, resolved)
	}
	names := map[string]string{}
	for _, resolved := range paths {
		if slices.Contains(paths, fileSigned(resolved)) || slices.ContainsFunc(jobs, func(j Job) bool { return j.File == resolved }) {
			continue
		}
		kind, err := Detect(resolved)
		if other, ok := errors.AsType[*LeftOutError](err); ok {
			leftOut = append(leftOut, other)
			continue
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if kind == Plain && cms {
			kind = CMS
		}
		base := filepath.Base(resolved)
		if other, taken := names[base]; taken && folder != "" {
			problems = append(problems, fmt.Errorf("%s and %s would both become %s", other, resolved, filepath.Join(folder, base)))
			continue
		}
		names[base] = resolved
		jobs = append(jobs, Job{resolved, kind})
	}
	return jobs, leftOut, errors.Join(problems...)
}
