package artifact

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Lists says how files are treated that list others with their digests: lists of checksums, and the
// control files of Debian's uploads.
type Lists struct {
	Update        bool // bring digests up to date before signing; else a list that is not true is refused
	IgnoreMissing bool // a listed file that is not there is passed over
	Detached      bool // a list that cannot be read is taken for any other file, with a note; else it is refused

	// Note takes what whoever signs or verifies should know of a list; may be nil.
	Note func(text string)

	folders []string          // where listed files lie; the first that has one counts; nil: beside the list
	results map[string]string // of this call: the file that was named, and where it lies now
	checked bool              // the files have been compared already
}

// listing is a text with lines that say what the digest of a file is.
type listing struct {
	lines   []string // with their ends
	entries []listed
	unread  string // why nothing of it can be compared; empty where it can

	required  func(name string) bool // what must be there in any case; nil: nothing
	automatic bool                   // what this call has signed is brought up to date without being asked for
}

// listed is what a line says of a file.
type listed struct {
	name   string // below the folder of the list
	hash   string // a key of listHashes
	line   int
	digest span
	size   span // empty where the line has none
}

// span is a part of a line.
type span struct{ from, to int }

func (s span) of(line string) string { return line[s.from:s.to] }

// names are those of the listed files, each once, in their order.
func (l *listing) names() []string {
	var names []string
	seen := map[string]bool{}
	for _, entry := range l.entries {
		if !seen[entry.name] {
			names = append(names, entry.name)
		}
		seen[entry.name] = true
	}
	return names
}

func (l *listing) text() string { return strings.Join(l.lines, "") }

// set writes a digest and a size over those of an entry and leaves the rest of the line as it is.
func (l *listing) set(entry listed, sum string, size int64) {
	line := l.lines[entry.line]
	if old := entry.digest.of(line); old == strings.ToUpper(old) {
		sum = strings.ToUpper(sum)
	}
	parts := []struct {
		span
		text string
	}{{entry.digest, sum}, {entry.size, strconv.FormatInt(size, 10)}} // in the order of every known form
	for _, part := range slices.Backward(parts) {
		if part.from < part.to {
			line = line[:part.from] + part.text + line[part.to:]
		}
	}
	l.lines[entry.line] = line
}

// measured is a file as it is.
type measured struct {
	size int64
	sums map[string]string // by keys of listHashes; hex
}

// measure reads a file once, for all digests that are listed.
func measure(ctx context.Context, content io.Reader, kinds []string) (*measured, error) {
	hashes := map[string]hash.Hash{}
	var all []io.Writer
	for _, kind := range kinds {
		if hashes[kind] == nil {
			hashes[kind] = listHashes[kind]()
			all = append(all, hashes[kind])
		}
	}
	size, err := io.Copy(io.MultiWriter(all...), contextReader{ctx, content})
	if err != nil {
		return nil, err
	}
	m := &measured{size, map[string]string{}}
	for kind, digest := range hashes {
		m.sums[kind] = fmt.Sprintf("%x", digest.Sum(nil))
	}
	return m, nil
}

// locate finds a listed file: the result of this call, else below one of the folders. The error
// wraps os.ErrNotExist where it is nowhere.
func (l *Lists) locate(path, name string) (*os.File, error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%s is outside the folder of the list: %w", strconv.QuoteToGraphic(name), os.ErrNotExist)
	}
	candidates := make([]string, 0, len(l.folders)+1)
	if result := l.result(path, name); result != "" {
		candidates = append(candidates, result)
	}
	folders := l.folders
	if folders == nil {
		folders = []string{filepath.Dir(path)}
	}
	for _, folder := range folders {
		candidates = append(candidates, filepath.Join(folder, name))
	}
	for _, candidate := range candidates {
		info, err := os.Stat(candidate)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s is not a regular file", candidate)
		}
		return os.Open(candidate)
	}
	return nil, fmt.Errorf("%s is not there: %w", strconv.QuoteToGraphic(name), os.ErrNotExist)
}

// result is where this call has put the file that a list names; empty if it did not sign it.
func (l *Lists) result(path, name string) string {
	return l.results[resolved(filepath.Join(filepath.Dir(path), name))]
}

// resolved is a path as that of a Job: no part of it is a link. One that leads nowhere stays as it is.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// compare holds a list at path against its files. When it is for signing, digests and sizes as they
// are replace those that may be brought up to date. The error is a *StaleError where the list is not true.
func (l *Lists) compare(ctx context.Context, path string, list *listing, signing bool) (renewed []string, err error) {
	entries := map[string][]listed{}
	for _, entry := range list.entries {
		entries[entry.name] = append(entries[entry.name], entry)
	}
	var found findings
	present := 0
	for _, name := range list.names() {
		file, err := l.locate(path, name)
		if errors.Is(err, os.ErrNotExist) {
			switch {
			case list.required != nil && list.required(name):
				found.required = append(found.required, name)
			case l.IgnoreMissing:
			case filepath.IsLocal(name):
				found.missing = append(found.missing, name)
			default:
				found.outside = append(found.outside, name)
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		var kinds []string
		for _, entry := range entries[name] {
			kinds = append(kinds, entry.hash)
		}
		m, err := measure(ctx, file, kinds)
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("reading %s: %w", strconv.QuoteToGraphic(name), err)
		}
		present++
		if list.says(entries[name], m) {
			continue
		}
		if !signing || !l.Update && !(list.automatic && l.result(path, name) != "") {
			found.other = append(found.other, name)
			continue
		}
		for _, entry := range entries[name] {
			list.set(entry, m.sums[entry.hash], m.size)
		}
		renewed = append(renewed, name)
	}
	if len(list.entries) == 0 {
		return nil, &StaleError{"it lists no file but itself"}
	}
	found.none = present == 0 && !signing
	return renewed, found.err(signing)
}

// findings are what is not as it is listed.
type findings struct {
	other                      []string // is there, and another file
	required, missing, outside []string // is not there, or not looked at
	none                       bool     // nothing was compared, of a list that wants it
}

func (f *findings) err(signing bool) error {
	stale := func(names []string, what, hint string) error {
		err := error(&StaleError{quoted(names) + " " + what})
		if hint != "" {
			err = fmt.Errorf("%w; %s", err, hint)
		}
		return err
	}
	const ignore = "--ignore-missing skips missing files"
	switch {
	case len(f.other) > 0 && signing:
		return stale(f.other, "not as listed", "--update-checksums brings the list up to date")
	case len(f.other) > 0:
		return stale(f.other, "not as listed", "")
	case len(f.required) > 0:
		return stale(f.required, "not there", "")
	case len(f.missing) > 0:
		return stale(f.missing, "not there", ignore)
	case len(f.outside) > 0:
		return stale(f.outside, "outside the folder of the list", ignore)
	case f.none:
		return &StaleError{"none of the files that are listed is there"}
	}
	return nil
}

// says reports whether lines about a file are true.
func (l *listing) says(entries []listed, m *measured) bool {
	return !slices.ContainsFunc(entries, func(entry listed) bool {
		line := l.lines[entry.line]
		size := entry.size.of(line)
		return !strings.EqualFold(entry.digest.of(line), m.sums[entry.hash]) || size != "" && size != strconv.FormatInt(m.size, 10)
	})
}

// quoted names files, the first three, with the verb that fits.
func quoted(names []string) string {
	var list []string
	for _, name := range names[:min(len(names), 3)] {
		list = append(list, strconv.QuoteToGraphic(name))
	}
	text := strings.Join(list, ", ")
	switch {
	case len(names) > 3:
		return fmt.Sprintf("%s and %d more are", text, len(names)-3)
	case len(names) > 1:
		return text + " are"
	}
	return text + " is"
}

// tell passes on what whoever signs or verifies should know of a list.
func (l *Lists) tell(text string) {
	if l.Note != nil {
		l.Note(text)
	}
}

func (l *Lists) tellRenewed(names []string) {
	if len(names) > 0 {
		l.tell("brought up to date: " + strings.TrimSuffix(strings.TrimSuffix(quoted(names), " is"), " are"))
	}
}
