package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// RecordLog is the folder in which the programs that talk to the service record what they do
// (config.Log.RecordDirectory). Tools hide why a key did not sign; the records do not.
type RecordLog struct {
	Folder string
	sizes  map[string]int64
}

// records are lines that were added to a log.
type records []string

// mark remembers where the files end.
func (l *RecordLog) mark() {
	if l == nil {
		return
	}
	l.sizes = map[string]int64{}
	for _, file := range l.files() {
		if info, err := os.Stat(file); err == nil {
			l.sizes[file] = info.Size()
		}
	}
}

// since returns what was added after the mark.
func (l *RecordLog) since() records {
	if l == nil {
		return nil
	}
	var lines records
	for _, file := range l.files() {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// A file that is shorter now has been rotated and is new from its beginning.
		if size := l.sizes[file]; size <= int64(len(data)) {
			data = data[size:]
		}
		lines = append(lines, strings.Split(strings.TrimSpace(string(data)), "\n")...)
	}
	return lines
}

func (l *RecordLog) files() []string {
	files, _ := fs.Glob(os.DirFS(l.Folder), "SignPath.CryptoProviders.*.txt") // the pattern is good
	for i, name := range files {
		files[i] = filepath.Join(l.Folder, name)
	}
	return files
}

var requestID = regexp.MustCompile(`(?:signingRequestId="?|signing request )([0-9A-Za-z-]+)`)

func (r records) requests() []string {
	var ids []string
	for _, line := range r {
		if match := requestID.FindStringSubmatch(line); match != nil && !slices.Contains(ids, match[1]) {
			ids = append(ids, match[1])
		}
	}
	return ids
}

// errorRecord finds the text of a record of level error, after time, level and process.
var errorRecord = regexp.MustCompile(`^\S+ (?:error|fatal) \d+ (.*)$`)

// explain adds the last error of the log to that of a tool.
func (r records) explain(err error) error {
	if _, tool := errors.AsType[*ToolError](err); !tool {
		return err
	}
	for _, line := range slices.Backward(r) {
		if match := errorRecord.FindStringSubmatch(line); match != nil {
			return fmt.Errorf("%w: %s", err, match[1])
		}
	}
	return err
}
